import { expect, test } from 'vitest';
import {
  changeOf,
  commandLine,
  configOf,
  faults,
  found,
  gitPlace,
  isWithoutRecipe,
  secretsOf,
  suggestion,
  wishOf,
  withPasted,
} from './source';

const detected = found({
  port: 8080,
  processes: {
    worker: spec({ command: ['python3', 'a b.py'] }),
    web: spec({ command: 'serve', replicas: 2 }),
  },
  env: { GREETING: 'hello' },
});

function spec(given: object) {
  return {
    command: null,
    port: null,
    replicas: 1,
    cpu: null,
    memory: null,
    health: null,
    scale: null,
    stop_grace: '10s',
    ...given,
  };
}

test('a form that nobody changed changes nothing', () => {
  expect(changeOf(wishOf(detected, 'a'), detected)).toEqual({ processes: {}, env: {} });
  expect(changeOf(wishOf({}, 'a'), {})).toEqual({ processes: {}, env: {} });
});

test('web comes first, and has the port that was found', () => {
  const [web, worker] = wishOf(detected, 'a').processes;
  expect(web).toMatchObject({ name: 'web', port: 8080, replicas: 2, command: 'serve' });
  expect(worker).toMatchObject({ name: 'worker', port: undefined, command: "python3 'a b.py'" });
});

test('only what was changed is sent, and secrets apart', () => {
  const wish = wishOf(detected, 'a');
  const [web, worker] = wish.processes;
  if (web === undefined || worker === undefined) throw new Error();
  wish.processes = [
    { ...web, replicas: 3 },
    worker,
    { name: 'extra', command: 'x', port: undefined, replicas: 1, given: false },
  ];
  wish.env.push({ id: 7, name: 'KEY', value: 'k', secret: true, given: false });
  wish.env.push({ id: 8, name: 'A', value: 'b', secret: false, given: false });
  const nothing = { command: null, port: null, replicas: null, cpu: null, memory: null };
  expect(changeOf(wish, detected)).toEqual({
    processes: { web: { ...nothing, replicas: 3 }, extra: { ...nothing, command: 'x' } },
    env: { A: 'b' },
  });
  expect(secretsOf(wish)).toEqual({ KEY: 'k' });
  expect(configOf(wish).env).toEqual({ GREETING: 'hello', A: 'b' });
});

test('faults are told by field', () => {
  const wish = wishOf({}, 'Bad Name');
  wish.env.push({ id: 3, name: 'PORT', value: '1', secret: false, given: false });
  expect(Object.keys(faults(wish))).toEqual(['app', 'env.3']);
  expect(faults(wishOf(detected, 'my-app'))).toEqual({});
  expect(Object.keys(faults(wishOf({}, 'a-')))).toEqual(['app']);
});

test('a pasted .env is added, and what is there gets its value', () => {
  const wish = withPasted(wishOf(detected, 'a'), 'GREETING=moin\n# no\nAPI_KEY="abc def"\n');
  expect(wish.env.map(({ name, value }) => [name, value])).toEqual([
    ['GREETING', 'moin'],
    ['API_KEY', 'abc def'],
  ]);
  expect(new Set(wish.env.map(({ id }) => id)).size).toBe(2);
});

test('the Dockerfile that a hint suggests is taken out of its words', () => {
  const hint = 'this looks like a Python project; add a Dockerfile such as:\n\nFROM debian:12\nCMD ["a"]\n';
  expect(suggestion(hint)).toEqual({
    words: 'this looks like a Python project; add a Dockerfile',
    dockerfile: 'FROM debian:12\nCMD ["a"]\n',
  });
  expect(suggestion('add one').dockerfile).toBeUndefined();
  expect(isWithoutRecipe({ code: 'invalid_source', detail: 'there is no "Dockerfile"' })).toBe(true);
  expect(isWithoutRecipe({ code: 'invalid_source', detail: 'a link leads out' })).toBe(false);
});

test('commands and addresses as people write them', () => {
  expect(commandLine(["it's"])).toBe("'it'\\''s'");
  expect(gitPlace('https://git.example.com/a/b#v1')).toEqual({ url: 'https://git.example.com/a/b', ref: 'v1' });
  expect(gitPlace('git@git.example.com:a/b.git')).toEqual({ url: 'https://git.example.com/a/b.git', ref: undefined });
});
