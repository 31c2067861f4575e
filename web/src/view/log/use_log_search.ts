/** Finding words in a log: so many lines at a time, so that typing does not wait for a hundred thousand of them. */
import { useEffect, useMemo, useReducer, useState } from 'react';
import { type LogBuffer, type LogLine, LogLines, wordsPattern } from '../../model/log';

/** Lines that are looked at between two frames. */
const SLICE = 15_000;

export interface LogSearch {
  /** Marks what was found; undefined while nothing is looked for. */
  pattern: RegExp | undefined;
  /** Lines that have it. */
  found: LogLines | undefined;
  /** Not all lines were looked at yet. */
  busy: boolean;
  current: LogLine | undefined;
  /** Which of those that were found it is, from 0. */
  place: number;
  /** Goes to the next or the last one before; gives it. */
  step: (by: 1 | -1) => LogLine | undefined;
}

export function useLogSearch(
  log: LogBuffer,
  version: number,
  passes: ((line: LogLine) => boolean) | undefined,
  words: string,
): LogSearch {
  const [current, setCurrent] = useState<LogLine>();
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const pattern = useMemo(() => (words === '' ? undefined : wordsPattern(words)), [words]);
  const found = useMemo(() => {
    if (words === '') return undefined;
    // A pattern that goes on from its last hit would miss lines: this one does not.
    const has = new RegExp(wordsPattern(words).source, 'iu');
    return new LogLines(log, (line) => (passes?.(line) ?? true) && has.test(line.plain));
  }, [log, passes, words]);
  const busy = found !== undefined && !found.update(0) && log.length > 0;

  // biome-ignore lint/correctness/useExhaustiveDependencies: each version of the log is looked at
  useEffect(() => {
    if (found === undefined) return;
    let request = 0;
    const look = () => {
      const done = found.update(SLICE);
      redraw();
      if (!done) request = requestAnimationFrame(look);
    };
    look();
    return () => cancelAnimationFrame(request);
  }, [found, version]);

  const place = found === undefined || current === undefined ? -1 : placeOf(found, current);
  return {
    pattern,
    found,
    busy,
    current: place < 0 ? undefined : current,
    place,
    step: (by) => {
      if (found === undefined || found.length === 0) return undefined;
      // The first one looked for is the newest: that is what people see.
      const at = place < 0 ? (by < 0 ? found.length - 1 : 0) : (place + by + found.length) % found.length;
      const line = found.at(at);
      setCurrent(line);
      return line;
    },
  };
}

function placeOf(lines: LogLines, line: LogLine): number {
  const at = lines.indexOf(line);
  return at >= 0 && lines.at(at)?.id === line.id ? at : -1;
}
