import { expect, test } from 'vitest';
import { baseRelease, commandText, inRegistry, originWords, previousRelease, releaseDiff, shortImage } from './release';
import type { ProcessSpec, Release, ReleasePhase, RunConfig } from './schema';

const DIGEST = `sha256:${'ab'.repeat(32)}`;

const process = (given: Partial<ProcessSpec> = {}): ProcessSpec => ({
  command: null,
  cpu: null,
  health: null,
  memory: null,
  port: null,
  replicas: 1,
  scale: null,
  stop_grace: '10s',
  ...given,
});

function release(number: number, config: Partial<RunConfig> = {}, phase: ReleasePhase = 'superseded'): Release {
  return {
    kind: 'Release',
    metadata: {
      name: `v${number}`,
      project: 'default',
      uid: `${number}`,
      revision: number,
      created: '',
      deleting: null,
    },
    spec: {
      app: 'hello',
      number,
      image: `host:1/default/hello@${DIGEST}`,
      config: { env: {}, processes: { web: process() }, release_command: null, volumes: [], ...config },
      origin: { from: 'image' },
      created_by: 'ada',
    },
    status: {
      phase,
      image: { reference: `host:1/default/hello@${DIGEST}`, ports: [] },
      finished: null,
      log: [],
      prepared: null,
      reason: null,
      started: null,
    },
  };
}

test('nothing is different between a release and itself', () => {
  expect(releaseDiff(release(1), release(2))).toEqual([]);
});

test('a difference says what was and what is', () => {
  const before = release(1, {
    env: { A: '1', B: 'x' },
    processes: { web: process({ memory: '128Mi' }), old: process() },
  });
  const after = release(2, {
    env: { A: '2', C: 'y' },
    processes: { web: process({ memory: '256Mi', command: ['python3', 'app.py'] }), worker: process({ replicas: 3 }) },
    volumes: [{ name: 'data', path: '/data', size: '1Gi' }],
    release_command: './migrate',
  });
  expect(releaseDiff(before, after)).toEqual([
    {
      title: 'Process old, gone',
      differences: [
        { what: 'Pods', before: '1', after: null },
        { what: 'Time to stop', before: '10s', after: null },
      ],
    },
    {
      title: 'Process web',
      differences: [
        { what: 'Memory', before: '128Mi', after: '256Mi' },
        { what: 'Command', before: null, after: '["python3","app.py"]' },
      ],
    },
    {
      title: 'Process worker, new',
      differences: [
        { what: 'Pods', before: null, after: '3' },
        { what: 'Time to stop', before: null, after: '10s' },
      ],
    },
    { title: 'Release command', differences: [{ what: 'Runs before each release', before: null, after: './migrate' }] },
    {
      title: 'Variables of the source',
      differences: [
        { what: 'A', before: '1', after: '2' },
        { what: 'B', before: 'x', after: null },
        { what: 'C', before: null, after: 'y' },
      ],
    },
    { title: 'Volumes', differences: [{ what: 'data', before: null, after: '/data, 1Gi' }] },
  ]);
});

test('names that objects have of themselves are names as any other', () => {
  const hostile = JSON.parse('{"__proto__": "1", "constructor": "<b>2</b>"}') as Record<string, string>;
  const processes = JSON.parse('{"constructor": {"replicas": 2, "stop_grace": "1s"}}') as Record<string, ProcessSpec>;
  const groups = releaseDiff(release(1, { processes: {} }), release(2, { env: hostile, processes }));
  expect(groups.map(({ title }) => title)).toEqual(['Process constructor, new', 'Variables of the source']);
  expect(groups[1]?.differences.map(({ what }) => what)).toEqual(['__proto__', 'constructor']);
});

test('a release of which little is told is compared as well', () => {
  const bare = release(1);
  bare.spec.config = {} as RunConfig;
  expect(releaseDiff(bare, release(2)).map(({ title }) => title)).toEqual(['Process web, new']);
});

test('changes build on the live release, and going back leads to the one before it', () => {
  const all = [release(4, {}, 'failed'), release(3, {}, 'live'), release(2), release(1)];
  expect(baseRelease(all, 3)?.spec.number).toBe(3);
  expect(baseRelease(all, null)?.spec.number).toBe(4);
  expect(previousRelease(all, 3)?.spec.number).toBe(2);
  expect(previousRelease(all.slice(0, 2), 3)).toBeUndefined();
});

test('images are told by what people know of them', () => {
  expect(shortImage(`127.0.0.1:7070/default/hello@${DIGEST}`)).toBe('default/hello@abababababab');
  expect(shortImage('nginx:1.27')).toBe('nginx:1.27');
  expect(shortImage(DIGEST)).toBe('image abababababab');
  expect(inRegistry(`127.0.0.1:7070/default/hello@${DIGEST}`, 'default')).toEqual({
    repository: 'default/hello',
    ref: DIGEST,
  });
  expect(inRegistry('docker.io/library/nginx@sha256:1', 'default')).toBeUndefined();
  expect(commandText(['a b', '"'])).toBe('["a b","\\""]');
  expect(originWords({ from: 'promotion', app: 'a', project: 'p', release: 3 })).toBe('Promoted from a v3 in p');
});
