import { expect, test } from 'vitest';
import { drainWords, nodeHealth, nodeOpening, shares, usedNow } from './node';
import type { Node } from './schema';

/** As the platform tells it: what has its default is left out. */
function node(spec: object, status: object): Node {
  return { kind: 'Node', metadata: { name: 'n', created: '' }, spec, status } as unknown as Node;
}

test('a node of which little is known is shown', () => {
  const bare = node({}, {});
  expect(nodeHealth(bare)).toBe('not ready');
  expect(nodeOpening(bare)).toBe('open');
  expect(shares(bare, undefined).map(({ used, capacity }) => [used, capacity])).toEqual([
    [null, null],
    [null, null],
    [null, null],
    [0, null],
  ]);
});

test('what is asked of it and how far it is', () => {
  expect(nodeOpening(node({ scheduling: 'cordoned' }, {}))).toBe('cordoned');
  expect(nodeOpening(node({ drain: { since: '' } }, {}))).toBe('draining');
  expect(nodeOpening(node({ drain: { since: '' } }, { drain: { phase: 'blocked' } }))).toBe('draining');
  expect(nodeOpening(node({ drain: { since: '' } }, { drain: { phase: 'drained' } }))).toBe('cordoned');
  expect(drainWords(undefined)).toBe('The drain begins.');
  expect(drainWords({ phase: 'blocked', since: '', started: '', left: 1 })).toContain('waits');
});

test('what is used stands beside what there is', () => {
  const capacity = { cpu: 4, memory_bytes: 100, disk_bytes: null, pods: 110 };
  const [cpu, memory, disk, pods] = shares(node({}, { capacity, allocatable: { ...capacity, cpu: 3 }, pods: 7 }), {
    cpu: 1,
    memory_bytes: 50,
    disk_bytes: null,
    pods: null,
  });
  expect(cpu).toMatchObject({ used: 1, capacity: 4, allocatable: 3 });
  expect(memory).toMatchObject({ used: 50, capacity: 100 });
  expect(disk).toMatchObject({ used: null, capacity: null });
  expect(pods).toMatchObject({ used: 7, capacity: 110 });
});

test('the newest sample is taken before what was asked for', () => {
  const asked = { cpu: 1, memory_bytes: 2, disk_bytes: 3, pods: 4 };
  const limits = { pods: 4, cpu_limit: null, memory_limit: null, disk_limit: null };
  expect(usedNow(undefined, undefined)).toBeUndefined();
  expect(usedNow(asked, undefined)).toBe(asked);
  expect(usedNow(asked, { name: 'n', cpu: 9, memory: null, ...limits })).toEqual({ ...asked, cpu: 9 });
});
