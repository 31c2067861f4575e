import { describe, expect, it } from 'vitest';
import { type Notice, patched } from './live';
import { keyOf, objectKey } from './objects';
import type { Pod } from './schema';

const pod = (name: string, phase = 'ready'): Pod =>
  ({
    kind: 'Pod',
    metadata: { name, project: 'default', created: '' },
    spec: { image: 'a' },
    status: { phase },
  }) as Pod;

const notice = (change: Notice['change'], object: Pod): Notice => ({ change, object: { ...object, kind: 'Pod' } });

describe('patched', () => {
  it('is the very same collection when nothing of its kind changed', () => {
    const before = new Map([['default//a', pod('a')]]);
    expect(patched('Pod', before, [])).toBe(before);
    expect(patched('Node', new Map(), [notice('applied', pod('a'))]).size).toBe(0);
  });

  it('takes each change in its order, and leaves what was before as it was', () => {
    const before = new Map([['default//a', pod('a')]]);
    const after = patched('Pod', before, [
      notice('applied', pod('b')),
      notice('applied', pod('a', 'stopping')),
      notice('deleted', pod('b')),
    ]);
    expect([...after.keys()]).toEqual(['default//a']);
    expect(after.get('default//a')?.status?.phase).toBe('stopping');
    expect(before.get('default//a')?.status?.phase).toBe('ready');
  });
});

describe('objectKey', () => {
  it('tells builds of one number in two apps apart, applied or deleted', () => {
    const applied = { kind: 'Build', metadata: { name: 'b1', project: 'p' }, spec: { app: 'x' } };
    const deleted = { kind: 'Build', metadata: { name: 'b1', project: 'p', app: 'x' } };
    expect(objectKey(applied)).toBe(keyOf('Build', 'p', 'b1', 'x'));
    expect(objectKey(deleted)).toBe(objectKey(applied));
    expect(objectKey({ ...applied, spec: { app: 'y' } })).not.toBe(objectKey(applied));
  });
});
