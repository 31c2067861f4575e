import { expect, test } from 'vitest';
import { advice, outcome, type Scene, steps } from './deployment';
import type { Build, Pod, Release } from './schema';

const build = (phase: string, reason: string | null = null) =>
  ({ status: { phase, reason }, spec: { number: 1 } }) as unknown as Build;
const release = (phase: string, command: string | null = null, prepared: string | null = null) =>
  ({
    spec: { number: 3, config: { release_command: command } },
    status: { phase, prepared, reason: phase === 'failed' ? 'it did not answer' : null },
  }) as unknown as Release;
const pod = (phase: string, of = 3) => ({ spec: { release: of }, status: { phase, reason: null } }) as unknown as Pod;

const states = (scene: Scene) => steps(scene).map(({ key, state }) => `${key} ${state}`);

test('a build goes first, and nothing follows one that failed', () => {
  expect(states({ build: build('running'), pods: [] })).toEqual(['build now', 'start next', 'live next']);
  expect(states({ build: build('failed'), pods: [] })).toEqual(['build failed', 'start next', 'live next']);
  expect(outcome({ build: build('failed'), pods: [] })).toBe('failed');
});

test('an image has no build, and only its own pods count', () => {
  const scene = { release: release('deploying'), pods: [pod('ready'), pod('starting'), pod('ready', 2)] };
  expect(states(scene)).toEqual(['start now', 'live next']);
  expect(steps(scene)[0]?.detail).toBe('1 of 2 pods ready');
});

test('a release command is a step of its own', () => {
  const scene = (phase: string, prepared: string | null) => ({
    build: build('succeeded'),
    release: release(phase, 'migrate', prepared),
    pods: [],
  });
  expect(states(scene('deploying', null))).toEqual(['build done', 'prepare now', 'start next', 'live next']);
  expect(states(scene('failed', null))).toEqual(['build done', 'prepare failed', 'start next', 'live next']);
  expect(states(scene('failed', 'x'))).toEqual(['build done', 'prepare done', 'start failed', 'live next']);
  expect(states(scene('live', 'x'))).toEqual(['build done', 'prepare done', 'start done', 'live done']);
});

test('advice fits what the log said', () => {
  expect(advice('the build failed', ['COPY app.py: no such file or directory'])).toContain('.dockerignore');
  expect(advice('exit code 137', [])).toContain('memory');
  expect(advice(null, [])).toContain('last lines');
});

test('advice goes by words, not by parts of words', () => {
  const usual = 'last lines';
  expect(advice(null, ['boom: no room for zooms'])).toContain(usual);
  expect(advice(null, ["import { report } from './support'", 'export portable transport'])).toContain(usual);
  expect(advice(null, ['diskette'])).toContain(usual);
  expect(advice('exit code 1370', [])).toContain(usual);
  expect(advice('OOMKilled', [])).toContain('memory');
  expect(advice('oom-killer took it', [])).toContain('memory');
  expect(advice('exited with code: 137.', [])).toContain('memory');
  expect(advice('exit status 127', [])).toContain('spelling');
  expect(advice('nothing listens on port 8080', [])).toContain('0.0.0.0');
  expect(advice('it did not become ready in 60 s', [])).toContain('0.0.0.0');
  expect(advice('it is unhealthy', [])).toContain('0.0.0.0');
  expect(advice('write /x: no space left on device', [])).toContain('disk');
});
