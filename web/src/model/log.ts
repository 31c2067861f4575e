/**
 * The lines of a log, in the order of their times, the newest so many of them.
 *
 * Theory of operation: lines arrive in batches, from several pods side by side; what a batch brings that is older than
 * what is there is sorted in. One array holds the lines; its front is let go of in large steps, so that neither an
 * appended nor a dropped line moves the others. Who shows the log is told once per batch.
 */
import { type CleanText, cleanText, isAscii, type Run } from './log_text';

/** So many lines are kept. */
export const MOST_LINES = 100_000;
/** So many rearrangements of the order are remembered, for those who follow the log with less than a whole look. */
const MOST_CUTS = 256;
/** A line of more characters is shown in part until somebody asks for the rest. */
export const SHOWN_CHARACTERS = 4000;
/** So many characters of a line are kept. */
export const MOST_CHARACTERS = 1024 * 1024;

/** Where a line comes from; `note` is the platform's own word between lines. */
export type Channel = 'stdout' | 'stderr' | 'note';

/** A line as it arrives. */
export interface LogInput {
  text: string;
  /** RFC 3339. */
  at?: string | null | undefined;
  pod?: string | undefined;
  process?: string | undefined;
  channel?: Channel | undefined;
}

/** A line as it is kept: text without control sequences. */
export interface LogLine extends CleanText {
  /** Never used twice in one log. */
  readonly id: number;
  /** Milliseconds since 1970; what lines are sorted by. */
  readonly ms: number;
  /** Was the time told, or taken from the line before? */
  readonly timed: boolean;
  readonly pod: string | undefined;
  readonly process: string | undefined;
  readonly channel: Channel;
  readonly runs?: readonly Run[];
  /** Only of signs that each take one place, so that its width is known without looking. */
  readonly ascii: boolean;
}

type Listener = () => void;

/** A change of the order: lines later than `ms` may have other places, from the place `from` (in all there were) on. */
interface Cut {
  from: number;
  ms: number;
}

const EVERYTHING: Cut = { from: 0, ms: Number.NEGATIVE_INFINITY };

export class LogBuffer {
  #lines: LogLine[] = [];
  /** The first line that still counts. */
  #head = 0;
  #id = 0;
  /** Times never go back within a pod, so that its lines keep the order they were written in. */
  #last = new Map<string, number>();
  #pods = new Map<string, string>();
  #processes = new Map<string, string>();
  #listeners = new Set<Listener>();
  #version = 0;
  #epoch = 0;
  /** Of the last epochs: from where on, and for lines later than when, the order changed. */
  #cuts: Cut[] = [];
  #dropped = 0;
  #widest = 0;
  readonly #most: number;

  constructor(most: number = MOST_LINES) {
    this.#most = most;
  }

  readonly subscribe = (listener: Listener): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Changes with each change of the log. */
  readonly snapshot = (): number => this.#version;

  get length(): number {
    return this.#lines.length - this.#head;
  }

  /** The line at a place; 0 is the oldest that is kept. */
  at(index: number): LogLine | undefined {
    return this.#lines[this.#head + index];
  }

  /** Changes when lines changed their places otherwise than by appending at the end and dropping at the front. */
  get epoch(): number {
    return this.#epoch;
  }

  /** So many lines were dropped at the front since the beginning: the place of the oldest kept, in all there were. */
  get dropped(): number {
    return this.#dropped;
  }

  /** What changed its place since an epoch; everything where that is long ago. */
  cutSince(epoch: number): Cut {
    const cuts = this.#epoch - epoch;
    if (cuts > this.#cuts.length) return EVERYTHING;
    const since = this.#cuts.slice(this.#cuts.length - cuts);
    return since.reduce((one, other) => ({ from: Math.min(one.from, other.from), ms: Math.min(one.ms, other.ms) }), {
      from: Number.POSITIVE_INFINITY,
      ms: Number.POSITIVE_INFINITY,
    });
  }

  /** Pods and processes that told something. */
  get names(): { pods: string[]; processes: string[] } {
    return { pods: [...this.#pods.keys()], processes: [...this.#processes.keys()] };
  }

  /** The most characters of a line that was ever there, as far as they are shown. */
  get widest(): number {
    return this.#widest;
  }

  push(inputs: readonly LogInput[]): void {
    if (inputs.length === 0) return;
    const newest = this.#lines.at(-1)?.ms ?? Number.NEGATIVE_INFINITY;
    const lines = inputs.map((input) => this.#line(input));
    let sorted = true;
    let earliest = Number.POSITIVE_INFINITY;
    for (let i = 0, before = newest; i < lines.length; i += 1) {
      const ms = lines[i]?.ms ?? 0;
      if (ms < before) sorted = false;
      if (ms < earliest) earliest = ms;
      before = ms;
    }
    if (sorted) for (const line of lines) this.#lines.push(line);
    else this.#merge(lines, earliest, newest);
    this.#trim();
    this.#changed();
  }

  clear(): void {
    this.#dropped += this.length;
    this.#lines = [];
    this.#head = 0;
    this.#widest = 0;
    this.#last.clear();
    this.#cut(EVERYTHING);
    this.#changed();
  }

  #line(input: LogInput): LogLine {
    const pod = once(this.#pods, input.pod);
    const told = input.at == null ? Number.NaN : Date.parse(input.at);
    const timed = !Number.isNaN(told);
    const before = this.#last.get(pod ?? '') ?? this.#lines.at(-1)?.ms ?? 0;
    const ms = timed ? Math.max(told, this.#last.get(pod ?? '') ?? Number.NEGATIVE_INFINITY) : before;
    this.#last.set(pod ?? '', ms);
    const whole = input.text;
    const text = whole.length > MOST_CHARACTERS ? `${whole.slice(0, MOST_CHARACTERS)}…` : whole;
    const clean = cleanText(text);
    this.#widest = Math.max(this.#widest, Math.min(clean.plain.length, SHOWN_CHARACTERS));
    this.#id += 1;
    return {
      id: this.#id,
      ms,
      timed,
      pod,
      process: once(this.#processes, input.process),
      channel: input.channel ?? 'stdout',
      ascii: clean.runs === undefined && isAscii(clean.plain) && !clean.plain.includes('\t'),
      ...clean,
    };
  }

  #merge(lines: LogLine[], earliest: number, newest: number): void {
    // Everything that is later than the earliest new line is sorted with the new ones; mostly that is little.
    const from = this.#after(earliest);
    const tail = this.#lines.splice(from);
    if (tail.length > 0 && earliest < newest) this.#cut({ from: this.#dropped + from - this.#head, ms: earliest });
    const all = tail.concat(lines).sort((a, b) => a.ms - b.ms);
    for (const line of all) this.#lines.push(line);
  }

  #cut(cut: Cut): void {
    this.#epoch += 1;
    this.#cuts.push(cut);
    if (this.#cuts.length > MOST_CUTS) this.#cuts.shift();
  }

  /** The place of the first line that is later than a moment. */
  #after(ms: number): number {
    let low = this.#head;
    let high = this.#lines.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#lines[middle]?.ms ?? 0) <= ms) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #trim(): void {
    const over = this.length - this.#most;
    if (over > 0) {
      this.#head += over;
      this.#dropped += over;
    }
    // Lines that do not count any more are let go of a quarter at a time: cheap, and bounded.
    if (this.#head > this.#most / 4) {
      this.#lines = this.#lines.slice(this.#head);
      this.#head = 0;
    }
  }

  #changed(): void {
    this.#version += 1;
    for (const listener of this.#listeners) listener();
  }
}

/** One string for all lines of a pod, not one for each. */
function once(names: Map<string, string>, name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const known = names.get(name);
  if (known !== undefined) return known;
  names.set(name, name);
  return name;
}

/** The lines of a log that pass a filter; follows the log with little work for what was appended. */
export class LogLines {
  #kept: LogLine[] = [];
  #head = 0;
  #epoch = -1;
  #seen = 0;

  constructor(
    readonly log: LogBuffer,
    readonly passes: ((line: LogLine) => boolean) | undefined,
  ) {}

  get length(): number {
    return this.passes === undefined ? this.log.length : this.#kept.length - this.#head;
  }

  at(index: number): LogLine | undefined {
    return this.passes === undefined ? this.log.at(index) : this.#kept[this.#head + index];
  }

  /** Takes in what changed since the last time, looking at `most` lines; was that all? */
  update(most: number = Number.POSITIVE_INFINITY): boolean {
    const { log, passes } = this;
    if (passes === undefined) return true;
    if (log.epoch !== this.#epoch) {
      const cut = this.#epoch < 0 ? EVERYTHING : log.cutSince(this.#epoch);
      this.#epoch = log.epoch;
      while (this.length > 0 && (this.#kept.at(-1)?.ms ?? 0) > cut.ms) this.#kept.pop();
      this.#seen = Math.min(this.#seen, cut.from);
    }
    const from = Math.max(0, this.#seen - log.dropped);
    const to = Math.min(log.length, from + most);
    for (let i = from; i < to; i += 1) {
      const line = log.at(i);
      if (line !== undefined && passes(line)) this.#kept.push(line);
    }
    this.#seen = log.dropped + to;
    const oldest = log.at(0);
    while (this.#head < this.#kept.length && isBefore(this.#kept[this.#head], oldest)) this.#head += 1;
    if (this.#head > MOST_LINES / 4) {
      this.#kept = this.#kept.slice(this.#head);
      this.#head = 0;
    }
    return to === log.length;
  }

  /** The place of a line, or of the first that is later where it is not there; -1 when there is none. */
  indexOf(line: { ms: number; id: number }): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.at(middle);
      if (other !== undefined && (other.ms < line.ms || (other.ms === line.ms && other.id < line.id))) low = middle + 1;
      else high = middle;
    }
    return low < this.length ? low : -1;
  }
}

/** Was a line there before another one, in the order of the log? Lines of one time are in the order of their arrival. */
function isBefore(line: LogLine | undefined, other: LogLine | undefined): boolean {
  if (line === undefined || other === undefined) return line !== undefined;
  return line.ms < other.ms || (line.ms === other.ms && line.id < other.id);
}

/** The pattern that finds words as they are, in any case. */
export function wordsPattern(words: string): RegExp {
  return new RegExp(words.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'giu');
}

/** Lines as text, for copying and for a file. */
export function asText(line: LogLine, way: 'text' | 'whole'): string {
  if (way === 'text') return line.plain;
  const at = line.timed ? `${new Date(line.ms).toISOString()} ` : '';
  return `${at}${line.pod === undefined ? '' : `${line.pod} `}${line.plain}`;
}
