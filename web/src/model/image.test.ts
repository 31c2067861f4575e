import { expect, test } from 'vitest';
import { instruction, protection, registryHost, repositoryProject, wordsOfUse } from './image';

test('steps of both builders read as in the Dockerfile', () => {
  const read = (created_by: string) => {
    const { word, rest } = instruction({ created_by, empty_layer: false });
    return `${word}|${rest}`;
  };
  expect(read('/bin/sh -c #(nop) WORKDIR /app')).toBe('WORKDIR|/app');
  expect(read('/bin/sh -c #(nop)  CMD ["python3" "app.py"]')).toBe('CMD|["python3" "app.py"]');
  expect(read('/bin/sh -c apt-get update')).toBe('RUN|apt-get update');
  expect(read('RUN /bin/sh -c apt-get update # buildkit')).toBe('RUN|apt-get update');
  expect(read('|1 VERSION=3 /bin/sh -c make')).toBe('RUN|make');
  expect(read('COPY . /app # buildkit')).toBe('COPY|. /app');
  expect(read('bazel build //:image')).toBe('|bazel build //:image');
  expect(instruction({ created_by: null, comment: 'Imported from -', empty_layer: false })).toEqual({
    word: '',
    rest: 'Imported from -',
  });
});

test('what another wrote stays what it is', () => {
  const hostile = '<script>alert(1)</script>\u001b]0;x\u0007';
  expect(instruction({ created_by: `RUN ${hostile}`, empty_layer: true }).rest).toBe(hostile);
});

test('an image that runs is never deleted, one of a former release when somebody insists', () => {
  const use = { project: 'default', app: 'hello' };
  expect(protection([]).level).toBe('free');
  expect(protection(undefined).level).toBe('free');
  expect(protection([{ ...use, build: 'b1', live: 'no' }])).toEqual({ level: 'free', by: [] });
  expect(protection([{ ...use, release: 1, live: 'earlier' }]).level).toBe('insist');
  expect(
    protection([
      { ...use, release: 1, live: 'earlier' },
      { ...use, release: 2, live: 'deploying' },
    ]).level,
  ).toBe('never');
  expect(protection([{ ...use, release: 2, live: 'live' }]).level).toBe('never');
});

test('names are taken apart', () => {
  expect(repositoryProject('shop/web')).toBe('shop');
  expect(registryHost('127.0.0.1:7070/default/hello:b1', 'x')).toBe('127.0.0.1:7070');
  expect(registryHost(undefined, 'x')).toBe('x');
  expect(wordsOfUse({ project: 'p', app: 'a', release: 3, live: 'live' })).toBe('Release v3 of a');
  expect(wordsOfUse({ project: 'p', pod: 'db', live: 'live' })).toBe('Pod db');
});
