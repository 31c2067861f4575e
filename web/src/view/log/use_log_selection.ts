/**
 * Selecting and copying over lines that are not in the page.
 *
 * The browser's own selection is used. The two lines that it begins and ends in stay in the page, wherever the reader
 * scrolls to; what stands between them is copied from the log itself.
 */
import { type RefObject, useCallback, useEffect, useState } from 'react';
import type { LogLine, LogLines } from '../../model/log';

export interface LogSelection {
  /** Places of lines that must stay in the page. */
  pinned: readonly number[];
  all: boolean;
  selectAll: () => void;
  clear: () => void;
  onCopy: (event: React.ClipboardEvent) => void;
}

interface End {
  id: number;
  offset: number;
}

/** The line that a place of the selection is in, and how far into its text. */
function endOf(box: HTMLElement, node: Node | null, offset: number): End | undefined {
  if (node === null || !box.contains(node)) return undefined;
  const element = node instanceof Element ? node : node.parentElement;
  const row = element?.closest<HTMLElement>('[data-line]');
  const text = row?.querySelector('[data-text]');
  if (!row || !text) return undefined;
  const id = Number(row.dataset.line);
  if (!text.contains(node)) return { id, offset: 0 };
  const range = document.createRange();
  range.selectNodeContents(text);
  range.setEnd(node, offset);
  return { id, offset: range.toString().length };
}

const NONE: readonly number[] = [];

export function useLogSelection(scroll: RefObject<HTMLDivElement | null>, lines: LogLines): LogSelection {
  const [ends, setEnds] = useState<readonly LogLine[]>([]);
  const [all, setAll] = useState(false);

  useEffect(() => {
    const changed = () => {
      const box = scroll.current;
      const selection = document.getSelection();
      if (box === null || selection === null) return;
      const ids = [
        endOf(box, selection.anchorNode, selection.anchorOffset),
        endOf(box, selection.focusNode, selection.focusOffset),
      ].flatMap((end) => (end === undefined ? [] : [end.id]));
      setEnds((was) => {
        if (ids.length === was.length && was.every((line, i) => line.id === ids[i])) return was;
        return ids.length === 0 ? [] : byIds(lines, ids);
      });
    };
    document.addEventListener('selectionchange', changed);
    return () => document.removeEventListener('selectionchange', changed);
  }, [lines, scroll]);

  const onCopy = useCallback(
    (event: React.ClipboardEvent) => {
      const box = scroll.current;
      const selection = document.getSelection();
      if (box === null) return;
      if (all) {
        event.clipboardData.setData('text/plain', textOf(lines, 0, lines.length - 1));
        event.preventDefault();
        return;
      }
      if (selection === null || selection.isCollapsed) return;
      const one = endOf(box, selection.anchorNode, selection.anchorOffset);
      const other = endOf(box, selection.focusNode, selection.focusOffset);
      if (one === undefined || other === undefined || one.id === other.id) return;
      const places = [one, other].map((end) => ({ end, index: placeById(lines, ends, end.id) }));
      const [from, to] = places.sort((a, b) => a.index - b.index);
      if (from === undefined || to === undefined || from.index < 0) return;
      event.clipboardData.setData('text/plain', textOf(lines, from.index, to.index, from.end.offset, to.end.offset));
      event.preventDefault();
    },
    [all, ends, lines, scroll],
  );

  return {
    pinned: ends.length === 0 ? NONE : ends.map((line) => lines.indexOf(line)),
    all,
    selectAll: () => {
      document.getSelection()?.removeAllRanges();
      setAll(true);
    },
    clear: () => setAll(false),
    onCopy,
  };
}

function byIds(lines: LogLines, ids: readonly number[]): LogLine[] {
  const found: LogLine[] = [];
  // What is selected is near the end more often than not.
  for (let i = lines.length - 1; i >= 0 && found.length < ids.length; i -= 1) {
    const line = lines.at(i);
    if (line !== undefined && ids.includes(line.id)) found.push(line);
  }
  return ids.flatMap((id) => found.find((line) => line.id === id) ?? []);
}

function placeById(lines: LogLines, ends: readonly LogLine[], id: number): number {
  const line = ends.find((end) => end.id === id) ?? byIds(lines, [id])[0];
  return line === undefined ? -1 : lines.indexOf(line);
}

/** The text of lines, from a place in the first up to a place in the last. */
export function textOf(lines: LogLines, from: number, to: number, start = 0, end = Number.POSITIVE_INFINITY): string {
  const parts: string[] = [];
  for (let i = from; i <= to; i += 1) {
    const plain = lines.at(i)?.plain ?? '';
    parts.push(plain.slice(i === from ? start : 0, i === to ? end : undefined));
  }
  return parts.join('\n');
}
