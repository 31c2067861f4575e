import { describe, expect, it } from 'vitest';
import { LogBuffer, LogLines, SHOWN_CHARACTERS } from '../../model/log';
import { pieces } from './log_row';
import { RowMap } from './row_map';

function linesOf(...texts: string[]): LogLines {
  const log = new LogBuffer();
  log.push(texts.map((text) => ({ text })));
  return new LogLines(log, undefined);
}

describe('RowMap', () => {
  it('knows where each line stands', () => {
    const lines = linesOf('', 'x'.repeat(10), 'x'.repeat(11), 'x'.repeat(35), 'x');
    const map = new RowMap();
    map.update(lines, 10, new Set());
    expect(map.total).toBe(1 + 1 + 2 + 4 + 1);
    expect([0, 1, 2, 3, 4].map((index) => map.top(index))).toEqual([0, 1, 2, 4, 8]);
    expect([0, 1, 2, 3, 4, 7, 8, 99, -5].map((row) => map.index(row))).toEqual([0, 1, 2, 2, 3, 3, 4, 4, 0]);
    map.update(lines, 0, new Set());
    expect(map.total).toBe(5);
    expect(map.index(3.5)).toBe(3);
  });

  it('takes over what was measured, until the width changes', () => {
    const lines = linesOf('日本語'.repeat(5));
    const line = lines.at(0);
    if (line === undefined) throw new Error('no line');
    const map = new RowMap();
    map.update(lines, 10, new Set());
    expect(map.total).toBe(2);
    expect(map.measured(line, 3)).toBe(true);
    expect(map.measured(line, 3)).toBe(false);
    map.update(lines, 10, new Set());
    expect(map.total).toBe(3);
    map.update(lines, 20, new Set());
    expect(map.total).toBe(1);
  });

  it('counts of a long line what is shown', () => {
    const lines = linesOf('x'.repeat(1_000_000));
    const map = new RowMap();
    map.update(lines, 100, new Set());
    expect(map.total).toBe(SHOWN_CHARACTERS / 100 + 1);
    map.update(lines, 100, new Set([lines.at(0)?.id ?? 0]));
    expect(map.total).toBe(10_001);
  });
});

describe('pieces', () => {
  it('are the line, whatever is coloured and found in it', () => {
    const lines = linesOf('a\x1b[31mbcd\x1b[0mef');
    const line = lines.at(0);
    if (line === undefined) throw new Error('no line');
    const parts = pieces(line, line.plain.length, /de/giu);
    expect(parts.map(({ text }) => text).join('')).toBe('abcdef');
    expect(parts.filter(({ found }) => found).map(({ text, look }) => [text, look?.fg])).toEqual([
      ['d', 1],
      ['e', undefined],
    ]);
  });

  it('are bounded by what is shown', () => {
    const line = linesOf('<b>'.repeat(10_000)).at(0);
    if (line === undefined) throw new Error('no line');
    const parts = pieces(line, 100, /b/giu);
    expect(parts.map(({ text }) => text).join('').length).toBe(100);
  });
});
