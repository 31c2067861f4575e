/**
 * A log as the platform sends it, into a `LogBuffer`.
 *
 * Theory of operation: the answer's body is read piece by piece, and the next piece only once the lines of the last
 * are in the buffer and a frame was drawn: whoever sends faster than this page can draw is held back by TCP, and
 * nothing is gathered. When the connection breaks, the log is asked for from a little before the last line on, and
 * what is known already is left out.
 */
import { useEffect, useMemo, useSyncExternalStore } from 'react';
import { send } from './client';
import { LogBuffer, type LogInput, MOST_CHARACTERS } from './log';
import { ApiProblem, problemOf, Unreachable } from './problem';

/** How lines are told apart: JSON each, server-sent events with JSON each, or plain. */
export type LogFormat = 'ndjson' | 'sse' | 'text';

/** `away`: the connection broke and is made again. `paused`: nobody looks. `ended`: there will be no more. */
export type FeedPhase = 'opening' | 'live' | 'away' | 'paused' | 'ended' | 'failed';

export interface FeedState {
  phase: FeedPhase;
  error?: unknown;
}

export interface LogSource {
  /** Path and query. */
  url: string;
  format: LogFormat;
  /**
   * How a broken log goes on: `since` asks from the last line's time on (`&since=`); `again` asks for all of it and
   * leaves out as many lines as there were; `never` when it is no log that goes on.
   */
  resume: 'since' | 'again' | 'never';
}

/** Before a connection that broke is made again, in milliseconds; the last one for all that follow. */
const PAUSE = [500, 1000, 2000, 5000];
/** Lines are taken in for so long between two frames, in milliseconds, looking at the clock after so many. */
const SLICE = 14;
const BATCH = 200;
/** A pod that had more to tell would have told it in this time, in milliseconds. */
const QUIET = 5000;
/** Asked for once more before the last line, in milliseconds: lines of several pods do not arrive in their order. */
const OVERLAP = 2000;
/** A tab that nobody looks at keeps its connection so long, in milliseconds: a browser has six of them to a host. */
const HIDDEN = 60_000;
/** Without frames, as in a hidden tab, lines are taken in at this pace, in milliseconds. */
const NO_FRAME = 100;

/** Cuts text into lines, whatever the pieces are that it arrives in. */
export class LineCutter {
  #rest: string[] = [];
  #length = 0;

  /** Whole lines; longer ones than are kept come in parts. */
  cut(piece: string): string[] {
    const lines: string[] = [];
    let from = 0;
    for (let end = piece.indexOf('\n'); end !== -1; end = piece.indexOf('\n', from)) {
      lines.push(this.#take(piece.slice(from, end)));
      from = end + 1;
    }
    if (from < piece.length) {
      this.#rest.push(piece.slice(from));
      this.#length += piece.length - from;
      if (this.#length > MOST_CHARACTERS) lines.push(this.#take(''));
    }
    return lines;
  }

  /** What was not ended by a line's end. */
  end(): string[] {
    return this.#length === 0 ? [] : [this.#take('')];
  }

  #take(last: string): string {
    const line = this.#rest.length === 0 ? last : this.#rest.join('') + last;
    this.#rest = [];
    this.#length = 0;
    return line;
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** A line's JSON, read without trust; undefined when it is none, such as a heartbeat. */
export function parseLine(json: string): LogInput | undefined {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof raw !== 'object' || raw === null) return undefined;
  const given = raw as {
    at?: unknown;
    text?: unknown;
    pod?: unknown;
    process?: unknown;
    channel?: unknown;
    state?: unknown;
  };
  const line = text(given.text);
  if (line === undefined) return undefined;
  // What a build tells of its steps has a state; its output has none.
  const note = typeof given.state === 'string';
  return {
    text: line,
    at: text(given.at),
    pod: text(given.pod),
    process: text(given.process),
    channel: note ? 'note' : given.channel === 'stderr' ? 'stderr' : 'stdout',
  };
}

/** Makes lines of log of the lines of an answer. */
class Reader {
  #event = '';
  /** The log said itself that nothing follows. */
  ended = false;

  constructor(readonly format: LogFormat) {}

  read(line: string): LogInput | undefined {
    if (this.format === 'text') return { text: line };
    if (this.format === 'ndjson') return line === '' ? undefined : parseLine(line);
    if (line.startsWith('event:')) this.#event = line.slice(6).trim();
    if (line === '' || line === '\r') this.#event = '';
    if (!line.startsWith('data:')) return undefined;
    if (this.#event === 'end') this.ended = true;
    return this.#event === 'line' ? parseLine(line.slice(5)) : undefined;
  }
}

/** A time as text that sorts as times do: the fraction has nine digits. */
export function sortable(at: string): string {
  const [whole = '', fraction = ''] = at.replace(/Z$|\+00:00$/, '').split('.');
  return `${whole}.${fraction.padEnd(9, '0')}`;
}

/** Knows which lines there were, so that none is shown twice when a log is asked for once more. */
export class Doubles {
  /** By pod: the newest time, how many lines had it, and when it came. */
  #seen = new Map<string, { at: string; sortable: string; times: number; arrived: number }>();
  /** What is left out now: by pod, lines up to that time, and so many of that time. */
  #skip = new Map<string, { sortable: string; times: number }>();

  /** From where to ask: before the last line of each pod that was telling until the end. */
  since(now: number): string | undefined {
    const all = [...this.#seen.values()];
    if (all.length === 0) return undefined;
    const lately = all.filter(({ arrived }) => now - arrived < QUIET);
    const lasts = (lately.length > 0 ? lately : all).map(({ at }) => Date.parse(at));
    const from = lately.length > 0 ? Math.min(...lasts) : Math.max(...lasts);
    return Number.isNaN(from) ? undefined : new Date(from - OVERLAP).toISOString();
  }

  /** The log is asked for once more: from here on lines that there were are told. */
  again(): void {
    this.#skip = new Map([...this.#seen].map(([pod, { sortable, times }]) => [pod, { sortable, times }]));
  }

  /** Is it new? */
  isNew(line: LogInput, now: number): boolean {
    if (line.at == null) return true;
    const key = sortable(line.at);
    const pod = line.pod ?? '';
    const skip = this.#skip.get(pod);
    if (skip !== undefined) {
      if (key < skip.sortable) return false;
      if (key === skip.sortable && skip.times > 0) {
        skip.times -= 1;
        return false;
      }
      if (key > skip.sortable) this.#skip.delete(pod);
    }
    const seen = this.#seen.get(pod);
    if (seen === undefined || key > seen.sortable) {
      this.#seen.set(pod, { at: line.at, sortable: key, times: 1, arrived: now });
    } else {
      if (key === seen.sortable) seen.times += 1;
      seen.arrived = now;
    }
    return true;
  }
}

/** After the next frame, or a while where there are none. */
function frame(): Promise<void> {
  return new Promise((resolve) => {
    const request = requestAnimationFrame(() => go());
    const timer = setTimeout(() => go(), NO_FRAME);
    const go = () => {
      cancelAnimationFrame(request);
      clearTimeout(timer);
      resolve();
    };
  });
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

const wait = (failures: number): number => PAUSE[Math.min(failures, PAUSE.length - 1)] ?? 0;

/** Carries one log into a buffer for as long as somebody looks. */
export class LogFeed {
  readonly log = new LogBuffer();
  readonly #source: LogSource;
  readonly #doubles = new Doubles();
  #state: FeedState = { phase: 'opening' };
  #listeners = new Set<() => void>();
  #stop: AbortController | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  /** Of a log that is asked for whole: how many lines there were. */
  #lines = 0;
  #asked = false;

  constructor(source: LogSource) {
    this.#source = source;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): FeedState => this.#state;

  start(): void {
    document.addEventListener('visibilitychange', this.#visibility);
    this.resume();
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.#visibility);
    clearTimeout(this.#hidden);
    this.#stop?.abort();
    this.#stop = undefined;
  }

  /** Asks for what came since, where the log had ended or failed. */
  readonly resume = (): void => {
    const { phase } = this.#state;
    if (this.#stop !== undefined && phase !== 'ended' && phase !== 'failed' && phase !== 'paused') return;
    this.#stop?.abort();
    const stop = new AbortController();
    this.#stop = stop;
    void this.#run(stop.signal);
  };

  async #run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      try {
        if (failures === 0) this.#set({ phase: this.#asked ? 'away' : 'opening' });
        const done = await this.#read(signal, () => {
          failures = 0;
        });
        if (signal.aborted) return;
        if (done) return this.#set({ phase: 'ended' });
      } catch (error) {
        if (signal.aborted) return;
        // A pod that was there and is gone: its log has ended.
        if (this.#asked && error instanceof ApiProblem && error.code === 'not_found')
          return this.#set({ phase: 'ended' });
        // The connection broke, or the platform is not there: neither is the end of the log.
        if (!(error instanceof TypeError || error instanceof Unreachable || isAway(error)))
          return this.#set({ phase: 'failed', error });
        if (this.#source.resume === 'never') return this.#set({ phase: 'failed', error });
        this.#set({ phase: 'away', error });
      }
      await pause(wait(failures), signal);
      failures += 1;
    }
  }

  /** Reads one answer to its end; is it the end of the log too? */
  async #read(signal: AbortSignal, onLine: () => void): Promise<boolean> {
    const { format, resume } = this.#source;
    const began = performance.now();
    const response = await send(new Request(new URL(this.#url(), window.location.origin), { signal }));
    if (!response.ok) throw problemOf(response.status, await response.json().catch(() => null));
    this.#asked = true;
    this.#doubles.again();
    this.#set({ phase: 'live' });
    let left = resume === 'again' ? this.#lines : 0;
    let some = false;
    const body = response.body;
    if (body === null) return true;
    const reader = new Reader(format);
    const cutter = new LineCutter();
    const pieces = body.pipeThrough(new TextDecoderStream()).getReader();
    // Lines wait for the next frame; the next piece waits for it too once reading took a slice of time.
    let fresh: LogInput[] = [];
    let slice = performance.now() + SLICE;
    let coming: Promise<void> | undefined;
    const show = (): void => {
      coming = undefined;
      slice = performance.now() + SLICE;
      // Also when nobody wants more: these lines are known as told, and would not be taken again.
      if (fresh.length === 0) return;
      some = true;
      onLine();
      this.#lines += fresh.length;
      this.log.push(fresh);
      fresh = [];
    };
    const drawn = (): Promise<void> => {
      coming ??= frame().then(show);
      return coming;
    };
    const take = async (lines: readonly string[]): Promise<void> => {
      for (const [place, line] of lines.entries()) {
        const input = reader.read(line);
        if (input !== undefined) {
          if (left > 0) left -= 1;
          else if (resume !== 'since' || this.#doubles.isNew(input, slice)) fresh.push(input);
        }
        if (place % BATCH === BATCH - 1 && performance.now() > slice) await drawn();
        if (signal.aborted) return;
      }
      if (fresh.length > 0) void drawn();
    };
    for (;;) {
      const { done, value } = await pieces.read();
      await take(done ? cutter.end() : cutter.cut(value));
      if (performance.now() > slice) await drawn();
      if (done || signal.aborted) break;
    }
    await drawn();
    if (reader.ended || resume === 'never') return true;
    // Ended at once and without a word: there is no more. Else it may be the platform that went away.
    return resume === 'since' && !some && performance.now() - began < 1000;
  }

  #url(): string {
    const { url, resume } = this.#source;
    const since = resume === 'since' ? this.#doubles.since(performance.now()) : undefined;
    if (since === undefined) return url;
    const [path, query] = url.split('?');
    const params = new URLSearchParams(query);
    // What `tail` left out at first is not wanted later either, and what came since is wanted whole.
    params.delete('tail');
    params.set('since', since);
    return `${path}?${params}`;
  }

  readonly #visibility = (): void => {
    clearTimeout(this.#hidden);
    if (document.hidden && this.#source.resume !== 'never') {
      this.#hidden = setTimeout(() => {
        const { phase } = this.#state;
        if (phase === 'ended' || phase === 'failed') return;
        this.#stop?.abort();
        this.#set({ phase: 'paused' });
      }, HIDDEN);
    } else if (this.#state.phase === 'paused') {
      this.resume();
    }
  };

  #set(state: FeedState): void {
    if (state.phase === this.#state.phase && state.error === this.#state.error) return;
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}

function isAway(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    ['store_unavailable', 'not_leader', 'engine_unavailable', 'rate_limited'].includes(String(error.code))
  );
}

/** A log for as long as the component is there; a new one when `url` changes. */
export function useLogFeed(source: LogSource): { log: LogBuffer; state: FeedState; resume: () => void } {
  const { url, format, resume } = source;
  const feed = useMemo(() => new LogFeed({ url, format, resume }), [url, format, resume]);
  useEffect(() => {
    feed.start();
    return () => feed.stop();
  }, [feed]);
  const state = useSyncExternalStore(feed.subscribe, feed.snapshot);
  return { log: feed.log, state, resume: feed.resume };
}

/** Lines that are there already, such as those of a build that has ended. */
export function useLogOf(lines: readonly LogInput[]): LogBuffer {
  return useMemo(() => {
    const log = new LogBuffer();
    log.push(lines);
    return log;
  }, [lines]);
}

/** What an app's or a pod's log is asked for by. */
export interface LogWish {
  project: string;
  app?: string;
  pod?: string;
  /** The last so many lines of each pod. */
  tail?: number;
  /** From a moment on, or the last so long: `5m`. */
  since?: string;
}

export function logSource(wish: LogWish): LogSource {
  const params = new URLSearchParams({ follow: 'true' });
  if (wish.tail !== undefined) params.set('tail', String(wish.tail));
  if (wish.since !== undefined) params.set('since', wish.since);
  const of =
    wish.app === undefined
      ? `pods/${encodeURIComponent(wish.pod ?? '')}/log`
      : `apps/${encodeURIComponent(wish.app)}/logs`;
  return {
    url: `/api/v1/projects/${encodeURIComponent(wish.project)}/${of}?${params}`,
    format: 'ndjson',
    resume: 'since',
  };
}

/** A build's log, until the build ends. */
export function buildLogSource(project: string, app: string, build: string): LogSource {
  const path = [project, 'apps', app, 'builds', build, 'log'].map(encodeURIComponent).join('/');
  return { url: `/api/v1/projects/${path}?follow=true`, format: 'sse', resume: 'again' };
}
