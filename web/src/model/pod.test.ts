import { describe, expect, it } from 'vitest';
import { NO_APP, parseVariables, passesFilter, podRows } from './pod';
import type { Pod, UsageSample } from './schema';

const pod = (name: string, app?: string, node = 'n1', phase = 'ready'): Pod =>
  ({
    kind: 'Pod',
    metadata: { name, project: 'p', created: '' },
    spec: { image: 'i', ...(app === undefined ? {} : { app }) },
    status: { phase, node },
  }) as Pod;

describe('variables', () => {
  it('are read as people type them', () => {
    expect(parseVariables('A=1\n\n# remark\n B_2 =x'.replace(' B_2 =', 'B_2='))).toEqual({
      env: { A: '1', B_2: 'x' },
      wrong: undefined,
    });
    expect(parseVariables('URL=http://a?b=c').env).toEqual({ URL: 'http://a?b=c' });
    expect(parseVariables('A=1\nnot one').wrong).toContain('Line 2');
    expect(parseVariables('1A=x').wrong).toContain('Line 1');
  });
});

describe('pods', () => {
  it('are filtered by what the address says', () => {
    expect(passesFilter(pod('a', 'x'), { app: 'x', node: 'n1', phase: 'ready' })).toBe(true);
    expect(passesFilter(pod('a'), { app: NO_APP })).toBe(true);
    expect(passesFilter(pod('a', 'x'), { app: NO_APP })).toBe(false);
    expect(passesFilter(pod('a', 'x'), { node: 'n2' })).toBe(false);
  });

  it('come with what they use, found by project and name', () => {
    const sample = {
      at: '',
      apps: [],
      nodes: [],
      pods: [{ project: 'p', name: 'a', cpu: 0.5 }],
    } as unknown as UsageSample;
    expect(podRows([pod('a'), pod('b')], sample).map(({ used }) => used?.cpu)).toEqual([0.5, undefined]);
    expect(podRows([pod('a')], undefined)[0]?.used).toBeUndefined();
  });
});
