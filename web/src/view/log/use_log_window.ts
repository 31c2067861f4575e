/**
 * Which lines of a log are in sight, and where.
 *
 * Theory of operation: all lines stand one below the other in a box of the height of all their rows; those near what
 * is in sight are in the page. While it follows, the end is in sight; else a line that was in sight stays where it is,
 * whatever is added, sorted in or dropped above it.
 */
import { type RefObject, useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from 'react';
import type { LogLine, LogLines } from '../../model/log';
import { RowMap } from './row_map';

/** Of one row, in pixels, as the style sheet has it. */
export const ROW = 20;
/** Rows that are in the page above and below those in sight. */
const OVERSCAN = 15;
/** So near to the end, in pixels, somebody is at it. */
const AT_END = ROW * 1.5;

interface Size {
  width: number;
  height: number;
  /** Of one character. */
  cell: number;
}

/** A line that stays where it is, so many pixels from the upper edge, as it was when the view stood `at` there. */
interface Anchor {
  ms: number;
  id: number;
  offset: number;
  at: number;
}

export interface Shown {
  line: LogLine;
  index: number;
  top: number;
  height: number | undefined;
}

export interface LogWindow {
  probe: RefObject<HTMLSpanElement | null>;
  shown: Shown[];
  /** Of all rows, in pixels. */
  height: number;
  /** Of the text of a line, in pixels. */
  textWidth: number;
  cell: number;
  follow: boolean;
  setFollow: (follow: boolean) => void;
  onScroll: () => void;
  /** Brings a line into sight. */
  reveal: (line: LogLine) => void;
  redraw: () => void;
}

export function useLogWindow(
  scroll: RefObject<HTMLDivElement | null>,
  lines: LogLines,
  options: { wrap: boolean; gutter: number; expanded: ReadonlySet<number>; pinned: readonly number[] },
): LogWindow {
  const { wrap, gutter, expanded, pinned } = options;
  const probe = useRef<HTMLSpanElement>(null);
  const map = useMemo(() => new RowMap(), []);
  const [size, setSize] = useState<Size>({ width: 800, height: 400, cell: 7.5 });
  const [follow, setFollow] = useState(true);
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const anchor = useRef<Anchor>(undefined);
  /** Where the view was put by us: the scroll event from there is none of the reader. */
  const put = useRef(Number.NaN);

  useEffect(() => {
    const box = scroll.current;
    const sample = probe.current;
    if (box === null || sample === null) return;
    const measure = () => {
      const cell = sample.getBoundingClientRect().width / (sample.textContent?.length || 1);
      const next = { width: box.clientWidth, height: box.clientHeight, cell: cell > 0 ? cell : 7.5 };
      setSize((was) => (was.width === next.width && was.height === next.height && was.cell === next.cell ? was : next));
    };
    const observer = new ResizeObserver(measure);
    observer.observe(box);
    observer.observe(sample);
    measure();
    return () => observer.disconnect();
  }, [scroll]);

  // Eight pixels beside the bar, three of the bar, eight at the end, and half a character so that none is broken off
  // for a fraction of a pixel.
  const columns = Math.max(8, Math.floor((size.width - 19 - gutter * size.cell) / size.cell - 0.5));
  map.update(lines, wrap ? columns : 0, expanded);
  const height = map.total * ROW;
  const most = Math.max(0, height - size.height);
  const wanted = wantedTop(lines, map, follow ? undefined : anchor.current, most);
  const from = map.index(wanted / ROW - OVERSCAN);
  const to = map.index((wanted + size.height) / ROW + OVERSCAN);
  const shown: Shown[] = [];
  const show = (index: number) => {
    const line = lines.at(index);
    if (line === undefined) return;
    const known = line.ascii || !wrap;
    shown.push({ line, index, top: map.top(index) * ROW, height: known ? map.rows(line) * ROW : undefined });
  };
  const pins = pinned.filter((index) => index >= 0 && index < lines.length && (index < from || index > to));
  for (const index of pins.filter((pin) => pin < from).sort((a, b) => a - b)) show(index);
  if (lines.length > 0) for (let index = from; index <= to; index += 1) show(index);
  for (const index of pins.filter((pin) => pin > to).sort((a, b) => a - b)) show(index);

  useLayoutEffect(() => {
    const box = scroll.current;
    if (box === null) return;
    // Lines that are not only of plain letters are as high as they are.
    let news = false;
    if (wrap) {
      const unknown = new Map(shown.filter((row) => row.height === undefined).map((row) => [String(row.line.id), row]));
      if (unknown.size > 0) {
        for (const element of box.querySelectorAll<HTMLElement>('[data-line]')) {
          const row = unknown.get(element.dataset.line ?? '');
          if (row === undefined) continue;
          if (map.measured(row.line, Math.max(1, Math.round(element.offsetHeight / ROW)))) news = true;
        }
      }
    }
    // Moved only as far as lines moved: whatever the reader's own scrolling does at the time goes on.
    const held = follow ? undefined : anchor.current;
    const shift = wanted - (held?.at ?? box.scrollTop);
    if (Math.abs(shift) >= 1) {
      box.scrollTop += shift;
      put.current = box.scrollTop;
      if (held !== undefined) held.at = wanted;
    }
    if (news) redraw();
  });

  const hold = useCallback(
    (box: HTMLDivElement) => {
      const index = map.index(box.scrollTop / ROW);
      const line = map.lines?.at(index);
      if (line === undefined) return;
      const { scrollTop } = box;
      anchor.current = { ms: line.ms, id: line.id, offset: map.top(index) * ROW - scrollTop, at: scrollTop };
    },
    [map],
  );

  const onScroll = useCallback(() => {
    const box = scroll.current;
    if (box === null) return;
    if (Math.abs(box.scrollTop - put.current) < 1) {
      put.current = Number.NaN;
      return;
    }
    hold(box);
    setFollow(box.scrollHeight - box.clientHeight - box.scrollTop < AT_END);
    redraw();
  }, [hold, scroll]);

  const reveal = useCallback(
    (line: LogLine) => {
      const box = scroll.current;
      if (box === null) return;
      const index = lines.indexOf(line);
      if (index < 0) return;
      const at = map.top(index) * ROW;
      const inside = at >= box.scrollTop && at + ROW <= box.scrollTop + box.clientHeight;
      const offset = inside ? at - box.scrollTop : Math.floor(box.clientHeight / 3);
      anchor.current = { ms: line.ms, id: line.id, offset, at: box.scrollTop };
      setFollow(false);
      redraw();
    },
    [lines, map, scroll],
  );

  const follows = useCallback(
    (on: boolean) => {
      if (!on && scroll.current !== null) hold(scroll.current);
      setFollow(on);
      redraw();
    },
    [hold, scroll],
  );

  return {
    probe,
    shown,
    height,
    textWidth: (columns + 0.5) * size.cell,
    cell: size.cell,
    follow,
    setFollow: follows,
    onScroll,
    reveal,
    redraw,
  };
}

/** Where the upper edge should be: at the end, or where the anchor stays. */
function wantedTop(lines: LogLines, map: RowMap, anchor: Anchor | undefined, most: number): number {
  if (anchor === undefined) return most;
  const index = lines.indexOf(anchor);
  const at = index < 0 ? most : map.top(index) * ROW - anchor.offset;
  return Math.max(0, Math.min(most, at));
}
