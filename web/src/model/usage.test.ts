import { expect, test } from 'vitest';
import type { Usage, UsageSample } from './schema';
import { amount, continued } from './usage';

const past: Usage = {
  from: '2026-01-01T00:00:00.000Z',
  step_seconds: 15,
  series: [{ name: 'cpu', unit: 'cores', limit: null, values: [0.1, null, 0.3] }],
};
const of = { of: 'node', name: 'a' } as const;
const sample = (at: string): UsageSample => ({
  at,
  pods: [],
  apps: [],
  nodes: [{ name: 'a', cpu: 0.5, cpu_limit: 2, pods: 1 }],
});

test('a sample of the next step moves the past on by one value', () => {
  const next = continued(past, sample('2026-01-01T00:00:46Z'), of);
  expect(next?.series[0]?.values).toEqual([null, 0.3, 0.5]);
  expect(next?.from).toBe('2026-01-01T00:00:15.000Z');
});

test('a sample that is in the past already changes nothing, and one after a gap is asked for', () => {
  expect(continued(past, sample('2026-01-01T00:00:44Z'), of)).toBe(past);
  expect(continued(past, sample('2026-01-01T00:02:00Z'), of)).toBeUndefined();
  expect(continued(past, sample('2026-01-01T00:00:46Z'), { of: 'node', name: 'b' })).toBeUndefined();
  expect(continued(past, sample('2026-01-01T00:00:46Z'), { of: 'platform' })).toBeUndefined();
});

test('amounts are told in their units', () => {
  expect(amount('requests/s', 0.25)).toBe('0.3/s');
  expect(amount('requests/s', 0)).toBe('0/s');
  expect(amount('ms', 4.25)).toBe('4.3 ms');
  expect(amount('bytes/s', 2048)).toBe('2.0 KiB/s');
  expect(amount('count', null)).toBe('–');
});
