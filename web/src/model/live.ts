/**
 * The platform's changes, as they happen, in the cache.
 *
 * Theory of operation: one event stream per tab tells everything that exists, then `synced`, then each change. What
 * it tells is gathered and given to the cache once per frame, so that a thousand changes at once cost one rendering.
 * After a break everything is told anew, and what is not told again until `synced` is gone; what is shown stays
 * meanwhile. A tab that nobody looks at lets go of its stream after a while, because a browser has six connections to
 * a host over HTTP/1.1, for all of its tabs together.
 */
import type { QueryClient } from '@tanstack/react-query';
import { type Collection, type Identified, LIVE_KINDS, type LiveKind, type LiveKinds, objectKey } from './objects';

export type LiveState = 'connecting' | 'live' | 'away';

/** A hidden tab keeps its stream so long, in milliseconds. */
const HIDDEN = 60_000;
/** Before a stream that broke is opened again, in milliseconds; the last one for all that follow. */
const PAUSE = [500, 1000, 2000, 5000];

export type Notice = { change: 'applied' | 'deleted'; object: Identified & { kind: string } };
type NoticeListener = (notices: readonly Notice[]) => void;

export const collectionKey = (kind: LiveKind) => ['live', kind] as const;

/** A collection after some notices; the same one when nothing of its kind changed. */
export function patched<K extends LiveKind>(
  kind: K,
  before: Collection<LiveKinds[K]>,
  notices: readonly Notice[],
): Collection<LiveKinds[K]> {
  const mine = notices.filter((notice) => notice.object.kind === kind);
  if (mine.length === 0) return before;
  const after = new Map(before);
  for (const { change, object } of mine) {
    const key = objectKey(object);
    if (change === 'deleted') after.delete(key);
    else after.set(key, object as unknown as LiveKinds[K]);
  }
  return after;
}

export class Live {
  #cache: QueryClient;
  #source: EventSource | undefined;
  #state: LiveState = 'connecting';
  #listeners = new Set<() => void>();
  #noticeListeners = new Set<NoticeListener>();
  #pending: Notice[] = [];
  #frame: number | undefined;
  /** What was told since the last `reset`; only while everything is being told. */
  #fresh: Set<string> | undefined;
  #failures = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #onRefused: () => void;

  /** `onRefused` is called when the stream cannot be opened: the session may have ended. */
  constructor(cache: QueryClient, onRefused: () => void) {
    this.#cache = cache;
    this.#onRefused = onRefused;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): LiveState => this.#state;

  /** Tells of each change of any kind, once it is in the cache; also of kinds that are not kept whole. */
  onNotices(listener: NoticeListener): () => void {
    this.#noticeListeners.add(listener);
    return () => this.#noticeListeners.delete(listener);
  }

  start(): void {
    if (this.#source !== undefined) return;
    document.addEventListener('visibilitychange', this.#visibility);
    this.#open();
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.#visibility);
    clearTimeout(this.#retry);
    clearTimeout(this.#hidden);
    this.#source?.close();
    this.#source = undefined;
    this.#set('connecting');
  }

  #open(): void {
    clearTimeout(this.#retry);
    this.#source?.close();
    const source = new EventSource('/api/v1/events');
    this.#source = source;
    this.#fresh = new Set();
    source.addEventListener('open', () => {
      this.#failures = 0;
    });
    source.addEventListener('applied', (event) => this.#told('applied', event));
    source.addEventListener('deleted', (event) => this.#told('deleted', event));
    source.addEventListener('reset', () => {
      this.#fresh = new Set();
    });
    source.addEventListener('synced', () => this.#synced());
    source.addEventListener('error', () => this.#failed(source));
  }

  #told(change: Notice['change'], event: MessageEvent<string>): void {
    const object = JSON.parse(event.data) as Notice['object'];
    if (change === 'applied') this.#fresh?.add(`${object.kind} ${objectKey(object)}`);
    this.#pending.push({ change, object });
    // A hidden tab gets no frames.
    if (document.hidden) this.#flush();
    else this.#frame ??= requestAnimationFrame(() => this.#flush());
  }

  #flush(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#frame = undefined;
    const notices = this.#pending;
    this.#pending = [];
    if (notices.length === 0) return;
    // While everything is being told a collection is not whole yet; it is shown all the same once it was before.
    for (const kind of LIVE_KINDS) this.#patch(kind, notices);
    for (const listener of this.#noticeListeners) listener(notices);
  }

  #partial = new Map<LiveKind, Collection<LiveKinds[LiveKind]>>();

  #patch(kind: LiveKind, notices: readonly Notice[]): void {
    const key = collectionKey(kind);
    const shown = this.#cache.getQueryData<Collection<LiveKinds[LiveKind]>>(key);
    const before = shown ?? this.#partial.get(kind) ?? new Map();
    const after = patched(kind, before, notices);
    if (after === before) return;
    if (shown === undefined) this.#partial.set(kind, after);
    else this.#cache.setQueryData(key, after);
  }

  #synced(): void {
    this.#flush();
    const fresh = this.#fresh;
    this.#fresh = undefined;
    for (const kind of LIVE_KINDS) {
      const key = collectionKey(kind);
      const shown =
        this.#cache.getQueryData<Collection<LiveKinds[LiveKind]>>(key) ?? this.#partial.get(kind) ?? new Map();
      const kept = fresh === undefined ? shown : new Map([...shown].filter(([name]) => fresh.has(`${kind} ${name}`)));
      this.#cache.setQueryData(key, kept);
    }
    this.#partial.clear();
    this.#set('live');
  }

  #failed(source: EventSource): void {
    if (source !== this.#source) return;
    // Not left to the browser, which would go on from the last event: pods and nodes have no place in that order, and
    // what ended meanwhile would stay. Everything anew is right in every case.
    source.close();
    this.#set('away');
    this.#onRefused();
    const pause = PAUSE[Math.min(this.#failures, PAUSE.length - 1)];
    this.#failures += 1;
    this.#retry = setTimeout(() => this.#open(), pause);
  }

  readonly #visibility = (): void => {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => {
        this.#source?.close();
        clearTimeout(this.#retry);
      }, HIDDEN);
    } else if (this.#source?.readyState === EventSource.CLOSED) {
      this.#open();
    }
  };

  #set(state: LiveState): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}
