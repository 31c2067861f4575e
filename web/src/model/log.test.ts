import { describe, expect, it } from 'vitest';
import { asText, LogBuffer, type LogLine, LogLines, MOST_CHARACTERS, wordsPattern } from './log';

const at = (ms: number): string => new Date(ms).toISOString();
const texts = (log: { length: number; at: (index: number) => LogLine | undefined }): string[] =>
  Array.from({ length: log.length }, (_, index) => log.at(index)?.plain ?? '');

describe('LogBuffer', () => {
  it('keeps the newest lines', () => {
    const log = new LogBuffer(100);
    for (let n = 0; n < 1000; n += 7)
      log.push(Array.from({ length: 7 }, (_, i) => ({ text: String(n + i), at: at(n + i) })));
    expect(log.length).toBe(100);
    expect(log.at(0)?.plain).toBe(String(log.dropped));
    expect(log.dropped + log.length).toBe(1001);
    expect(log.at(99)?.plain).toBe('1000');
    expect(log.at(100)).toBeUndefined();
  });

  it('sorts pods side by side, and keeps the order of each', () => {
    const log = new LogBuffer();
    log.push([
      { text: 'a1', pod: 'a', at: at(1000) },
      { text: 'a3', pod: 'a', at: at(3000) },
    ]);
    log.push([
      { text: 'b2', pod: 'b', at: at(2000) },
      { text: 'b4', pod: 'b', at: at(4000) },
      // A clock that was set back: still after what the pod wrote before.
      { text: 'b5', pod: 'b', at: at(500) },
    ]);
    expect(texts(log)).toEqual(['a1', 'b2', 'a3', 'b4', 'b5']);
  });

  it('keeps lines without a time where they arrived', () => {
    const log = new LogBuffer();
    log.push([{ text: 'one' }, { text: 'two' }]);
    log.push([{ text: 'three' }]);
    expect(texts(log)).toEqual(['one', 'two', 'three']);
    expect(log.at(0)?.timed).toBe(false);
  });

  it('cuts what is longer than it keeps', () => {
    const log = new LogBuffer();
    log.push([{ text: 'x'.repeat(MOST_CHARACTERS * 2) }]);
    expect(log.at(0)?.plain.length).toBe(MOST_CHARACTERS + 1);
  });

  it('takes hostile names and times', () => {
    const log = new LogBuffer();
    log.push([{ text: 'a', pod: '__proto__', at: 'not a time' }]);
    log.push([{ text: 'b', pod: 'constructor', at: '+275760-09-13T00:00:00.001Z' }]);
    expect(texts(log)).toEqual(['a', 'b']);
  });
});

describe('LogLines', () => {
  /** Whatever happens to a log, what follows it is as if it had been filtered at the end. */
  it('are always what a look at the whole log would give', () => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed % below;
    };
    const log = new LogBuffer(500);
    const passes = (line: LogLine): boolean => line.plain.endsWith('3') || line.pod === 'p1';
    const often = new LogLines(log, passes);
    const seldom = new LogLines(log, passes);
    for (let round = 0; round < 600; round += 1) {
      const inputs = Array.from({ length: random(20) }, () => ({
        text: String(random(1000)),
        pod: `p${random(4)}`,
        at: at(round * 50 + random(4000)),
      }));
      log.push(inputs);
      if (random(150) === 0) log.clear();
      const wanted = Array.from({ length: log.length }, (_, index) => log.at(index)).filter(
        (line): line is LogLine => line !== undefined && passes(line),
      );
      often.update();
      expect(texts(often)).toEqual(wanted.map(({ plain }) => plain));
      if (random(30) === 0) {
        while (!seldom.update(37));
        expect(texts(seldom)).toEqual(wanted.map(({ plain }) => plain));
      }
      expect(wanted.slice(0, 3).every((line) => often.at(often.indexOf(line)) === line)).toBe(true);
      const times = Array.from({ length: log.length }, (_, index) => log.at(index)?.ms ?? 0);
      expect(times.every((ms, index) => index === 0 || ms >= (times[index - 1] ?? 0))).toBe(true);
    }
  });
});

describe('words', () => {
  it('are found as they are, in any case', () => {
    for (const words of ['a.c', '[', '(x|y)', '\\d', '$^', 'ÄÖ', '</script>', '-', '/', '🙂'])
      expect(`before ${words.toUpperCase()} after`.match(wordsPattern(words))).not.toBeNull();
    expect('abc'.match(wordsPattern('a.c'))).toBeNull();
  });
});

describe('asText', () => {
  it('has no control sequences', () => {
    const log = new LogBuffer();
    log.push([{ text: '\x1b[31mred\x1b]0;owned\x07', pod: 'a', at: at(0) }]);
    const line = log.at(0);
    expect(line && asText(line, 'whole')).toBe('1970-01-01T00:00:00.000Z a red');
    expect(line && asText(line, 'text')).toBe('red');
  });
});
