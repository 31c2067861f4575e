/** One line of a log. Everything in it is text; what it looks like is set by classes and by colours made of numbers. */
import { type CSSProperties, memo } from 'react';
import { type LogLine, SHOWN_CHARACTERS } from '../../model/log';
import { cssColour, type Look } from '../../model/log_text';
import classes from './log.module.css';

export interface LogRowProps {
  line: LogLine;
  /** From the top of all lines, in pixels. */
  top: number;
  /** In pixels; measured where it is not known. */
  height: number | undefined;
  wrap: boolean;
  time: string | undefined;
  showPod: boolean;
  /** What is looked for. */
  pattern: RegExp | undefined;
  current: boolean;
  expanded: boolean;
  onExpand: (id: number) => void;
}

/** Colours that pods are told apart by. */
const POD_COLOURS = 8;

/** The same colour for a pod wherever it is shown. */
export function podColour(pod: string): string {
  let sum = 0;
  for (let i = 0; i < pod.length; i += 1) sum = (sum * 31 + pod.charCodeAt(i)) >>> 0;
  return `var(--log-pod-${sum % POD_COLOURS})`;
}

/** As many characters of a pod's name as there is room for: its end tells pods apart. */
const POD = 22;

function shortPod(pod: string | undefined): string {
  if (pod === undefined) return '';
  return pod.length <= POD ? pod : `…${pod.slice(1 - POD)}`;
}

const NUMBER = new Intl.NumberFormat();

export const LogRow = memo(function LogRow(props: LogRowProps) {
  const { line, top, height, wrap, time, showPod, pattern, current, expanded, onExpand } = props;
  const shown = expanded ? line.plain.length : Math.min(line.plain.length, SHOWN_CHARACTERS);
  const long = line.plain.length > SHOWN_CHARACTERS;
  const colour = line.pod === undefined ? undefined : podColour(line.pod);
  return (
    <div
      className={classes.row}
      data-line={line.id}
      data-channel={line.channel}
      data-current={current || undefined}
      style={height === undefined ? { top } : { top, height }}
    >
      <span className={classes.bar} style={colour === undefined ? undefined : { background: colour }} />
      {time !== undefined && <span className={classes.time}>{time}</span>}
      {showPod && (
        <span className={classes.pod} style={colour === undefined ? undefined : { color: colour }} title={line.pod}>
          {shortPod(line.pod)}
        </span>
      )}
      <span className={wrap ? classes.wrapped : classes.text} data-text>
        {pieces(line, shown, pattern).map(({ from, text, look, found }) => {
          if (look === undefined && !found) return text;
          const Tag = found ? 'mark' : 'span';
          return (
            <Tag key={from} className={look?.sign ? classes.sign : undefined} style={look && style(look)}>
              {text}
            </Tag>
          );
        })}
        {long && (
          <button type="button" className={wrap ? classes.more : classes.moreInline} onClick={() => onExpand(line.id)}>
            {expanded
              ? 'Show less of this line'
              : `Show the other ${NUMBER.format(line.plain.length - shown)} characters of this line`}
          </button>
        )}
      </span>
    </div>
  );
});

interface Piece {
  from: number;
  text: string;
  look: Look | undefined;
  found: boolean;
}

/** The parts of a line that look alike, and those that were looked for. */
export function pieces(line: LogLine, shown: number, pattern: RegExp | undefined): Piece[] {
  const text = shown < line.plain.length ? line.plain.slice(0, shown) : line.plain;
  if (line.runs === undefined && pattern === undefined) return [{ from: 0, text, look: undefined, found: false }];
  const found = pattern === undefined ? [] : [...text.matchAll(pattern)].filter((match) => match[0] !== '');
  const hits = found.map((match) => ({ from: match.index, to: match.index + match[0].length }));
  const out: Piece[] = [];
  let at = 0;
  let hit = 0;
  for (const run of line.runs ?? [{ to: text.length, look: {} }]) {
    const end = Math.min(run.to, text.length);
    const look = Object.keys(run.look).length === 0 ? undefined : run.look;
    while (at < end) {
      while (hit < hits.length && (hits[hit]?.to ?? 0) <= at) hit += 1;
      const next = hits[hit];
      const inside = next !== undefined && next.from <= at;
      const to = Math.min(end, inside ? next.to : (next?.from ?? end));
      out.push({ from: at, text: text.slice(at, to), look, found: inside });
      at = to;
    }
  }
  return out;
}

function style(look: Look): CSSProperties {
  const { fg, bg, bold, dim, italic, underline, strike } = look;
  const lines = [underline && 'underline', strike && 'line-through'].filter(Boolean).join(' ');
  return {
    ...(fg === undefined ? {} : { color: cssColour(fg, bg === undefined ? 'readable' : 'exact') }),
    ...(bg === undefined ? {} : { background: cssColour(bg, 'exact') }),
    ...(bold ? { fontWeight: 700 } : {}),
    ...(dim ? { opacity: 0.75 } : {}),
    ...(italic ? { fontStyle: 'italic' } : {}),
    ...(lines === '' ? {} : { textDecoration: lines }),
  };
}
