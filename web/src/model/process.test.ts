import { expect, test } from 'vitest';
import { commandOf, cpuOf, formOf, formProblems, processesOf, rebasedForm, spanOf, specOf } from './process';
import type { App, ProcessSpec, Release } from './schema';

const spec: ProcessSpec = {
  command: ['python3', 'a b.py'],
  cpu: 0.5,
  memory: '256Mi',
  port: 8080,
  replicas: 2,
  scale: { min: 0, max: 3, idle: '10m' },
  stop_grace: '10s',
  health: { path: '/healthz', interval: '2s', timeout: '5s', grace: '30s', failures: 3 },
};

test('a form that nobody changed says the same process', () => {
  expect(formProblems(formOf(spec))).toEqual({});
  expect(specOf(formOf(spec), spec)).toEqual(spec);
  const bare: ProcessSpec = { ...spec, command: null, cpu: null, memory: null, port: null, health: null };
  expect(formProblems(formOf(bare))).toEqual({});
  expect(specOf(formOf(bare), bare)).toEqual(bare);
});

test('each field says what is wrong with it', () => {
  const form = formOf(spec);
  const wrong = formProblems({
    ...form,
    command: '[1, 2]',
    port: '70000',
    cpu: '0',
    memory: '1 potato',
    path: 'healthz',
    interval: '2',
    timeout: '2h',
    grace: '',
    failures: '0',
    stopGrace: '-1s',
  });
  expect(Object.keys(wrong).sort()).toEqual(
    ['command', 'cpu', 'failures', 'grace', 'interval', 'memory', 'path', 'port', 'stopGrace', 'timeout'].sort(),
  );
  expect(formProblems({ ...form, health: 'none', path: '', interval: '' })).toEqual({});
});

test('commands are lines for the shell or words', () => {
  expect(commandOf(' ')).toBeNull();
  expect(commandOf('./run --x "y"')).toBe('./run --x "y"');
  expect(commandOf('["a", "b c"]')).toEqual(['a', 'b c']);
  expect(commandOf('[ -f x ] && y')).toBe('[ -f x ] && y');
  expect(commandOf('[]')).toBeUndefined();
});

test('amounts', () => {
  expect(cpuOf('500m')).toBe(0.5);
  expect(cpuOf('1e9')).toBeNull();
  expect(spanOf('1h')).toBe(3_600_000);
  expect(spanOf('1 h')).toBeNull();
});

test('wishes come from whoever scaled, else from the release', () => {
  const app = {
    spec: { scale: { web: 5 } },
    status: { processes: { web: { replicas: 5, ready: 4 } } },
  } as unknown as App;
  const release = {
    spec: { config: { processes: { worker: { ...spec, replicas: 1 }, web: spec } } },
  } as unknown as Release;
  expect(processesOf(app, release, []).map(({ name, wish, ready, scaled }) => [name, wish, ready, scaled])).toEqual([
    ['web', 5, 4, true],
    ['worker', 1, 0, false],
  ]);
  // What has no fields left out is told without them.
  expect(processesOf({ spec: {}, status: {} } as unknown as App, release, [])).toHaveLength(2);
});

test('what was typed goes onto what somebody else changed', () => {
  const before = formOf(spec);
  const typed = { ...before, memory: '1Gi' };
  const now = formOf({ ...spec, cpu: 2, memory: '512Mi' });
  expect(rebasedForm(typed, before, now)).toEqual({ ...now, memory: '1Gi' });
});
