import { describe, expect, it } from 'vitest';
import { MOST_CHARACTERS } from './log';
import { Doubles, LineCutter, parseLine, sortable } from './log_stream';

describe('LineCutter', () => {
  it('gives the same lines however they are cut into pieces', () => {
    const text = 'one\ntwo\n\nfour is longer\nfive';
    for (let size = 1; size <= text.length; size += 1) {
      const cutter = new LineCutter();
      const lines: string[] = [];
      for (let from = 0; from < text.length; from += size) lines.push(...cutter.cut(text.slice(from, from + size)));
      lines.push(...cutter.end());
      expect(lines).toEqual(['one', 'two', '', 'four is longer', 'five']);
    }
  });

  it('gathers no more of a line than is kept', () => {
    const cutter = new LineCutter();
    let longest = 0;
    for (let n = 0; n < 100; n += 1)
      for (const line of cutter.cut('x'.repeat(64 * 1024))) longest = Math.max(longest, line.length);
    expect(longest).toBeGreaterThan(MOST_CHARACTERS);
    expect(longest).toBeLessThan(MOST_CHARACTERS + 128 * 1024);
  });
});

describe('parseLine', () => {
  it('reads lines of pods and of builds', () => {
    expect(
      parseLine('{"pod":"a-1","process":"web","at":"2026-01-01T00:00:00Z","channel":"stderr","text":"x"}'),
    ).toEqual({ pod: 'a-1', process: 'web', at: '2026-01-01T00:00:00Z', channel: 'stderr', text: 'x' });
    expect(parseLine('{"at":"2026-01-01T00:00:00Z","step":"[1/2]","state":"done","text":"FROM x"}')?.channel).toBe(
      'note',
    );
  });

  it('takes nothing else', () => {
    for (const wrong of [
      '',
      'null',
      '[]',
      '{}',
      '{"text":1}',
      '{"text":{"a":1}}',
      '{"text":"cut',
      'undefined',
      '<html>',
    ])
      expect(parseLine(wrong)).toBeUndefined();
    expect(parseLine('{"text":"x","pod":7,"at":{},"channel":[],"__proto__":{"text":"y"}}')).toEqual({
      text: 'x',
      pod: undefined,
      at: undefined,
      process: undefined,
      channel: 'stdout',
    });
  });
});

describe('sortable', () => {
  it('sorts as times do, whatever the fractions are', () => {
    const times = [
      '2026-01-01T00:00:00Z',
      '2026-01-01T00:00:00.000000001Z',
      '2026-01-01T00:00:00.1Z',
      '2026-01-01T00:00:00.100000001Z',
      '2026-01-01T00:00:01Z',
    ];
    expect([...times].reverse().map(sortable).sort()).toEqual(times.map(sortable));
  });
});

describe('Doubles', () => {
  const line = (pod: string, at: string, text = '') => ({ pod, at, text });

  it('leaves out what there was, and only that', () => {
    const doubles = new Doubles();
    const all = [
      line('a', '2026-01-01T00:00:01Z', 'a1'),
      line('b', '2026-01-01T00:00:01.5Z', 'b1'),
      line('a', '2026-01-01T00:00:02Z', 'a2'),
      line('a', '2026-01-01T00:00:02Z', 'a3 at the same time'),
    ];
    for (const one of all) expect(doubles.isNew(one, 0)).toBe(true);
    doubles.again();
    const later = [
      ...all,
      line('a', '2026-01-01T00:00:02Z', 'a4 at the same time, after the break'),
      line('b', '2026-01-01T00:00:01.6Z', 'b2, before the newest of a'),
      line('c', '2026-01-01T00:00:00Z', 'c1 of a new pod'),
    ];
    expect(later.filter((one) => doubles.isNew(one, 1)).map(({ text }) => text)).toEqual([
      'a4 at the same time, after the break',
      'b2, before the newest of a',
      'c1 of a new pod',
    ]);
    // Once more, with what came meanwhile.
    doubles.again();
    expect(later.filter((one) => doubles.isNew(one, 2))).toEqual([]);
    expect(doubles.isNew(line('a', '2026-01-01T00:00:03Z'), 2)).toBe(true);
  });

  it('asks from before the pod that is furthest behind, not from before one that is silent for long', () => {
    const doubles = new Doubles();
    doubles.isNew(line('silent', '2026-01-01T00:00:00Z'), 0);
    doubles.isNew(line('behind', '2026-01-02T00:00:00Z'), 60_000);
    doubles.isNew(line('ahead', '2026-01-02T06:00:00Z'), 60_000);
    expect(doubles.since(60_100)).toBe('2026-01-01T23:59:58.000Z');
    // All are silent: nothing older than the newest line is missing.
    expect(doubles.since(99_000)).toBe('2026-01-02T05:59:58.000Z');
    expect(new Doubles().since(0)).toBeUndefined();
  });
});
