/**
 * What apps, pods, nodes and the platform use, over time.
 *
 * Theory of operation: the past is asked for once. While somebody looks, a stream of samples (one for all charts of the
 * page, and only while there are any) continues it, so that nothing is asked for again because time passed.
 */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useSyncExternalStore } from 'react';
import { client, data } from './client';
import { bytes, cpu } from './format';
import type { Metric, Unit, Usage, UsageSample, UsageSeries } from './schema';

export type { AppSample, Metric, NodeSample, PodSample, Unit, Usage, UsageSample, UsageSeries } from './schema';

export type UsageRange = '1h' | '6h' | '24h';

type Amounts = { [M in Metric]?: number | null };

/** Whose use it is. */
export type UsageOf =
  | { of: 'app'; project: string; name: string }
  | { of: 'pod'; project: string; name: string }
  | { of: 'node'; name: string }
  | { of: 'platform' };

export const RANGES: readonly UsageRange[] = ['1h', '6h', '24h'];

export const RANGE_WORDS: Record<UsageRange, string> = { '1h': 'last hour', '6h': 'last 6 hours', '24h': 'last day' };

/** A range as an address says it. */
export function usageRange(text: string | undefined): UsageRange {
  return RANGES.find((range) => range === text) ?? '1h';
}

export const METRIC_WORDS: Record<Metric, string> = {
  cpu: 'Processors',
  memory: 'Memory',
  network_in: 'Received',
  network_out: 'Sent',
  requests: 'Requests',
  errors: 'Errors',
  latency: 'Answer time',
  disk: 'Disk',
  pods: 'Pods',
};

/** An amount in its unit, for people. */
export function amount(unit: Unit, value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  switch (unit) {
    case 'cores':
      return cpu(value);
    case 'bytes':
      return bytes(value);
    case 'bytes/s':
      return `${bytes(value)}/s`;
    case 'requests/s':
      return `${value !== 0 && value < 10 ? value.toFixed(value < 0.1 ? 2 : 1) : Math.round(value).toLocaleString()}/s`;
    case 'ms':
      return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value).toLocaleString()} ms`;
    case 'count':
      return Math.round(value).toLocaleString();
  }
}

export function seriesOf(usage: Usage | undefined, metric: Metric): UsageSeries | undefined {
  return usage?.series.find(({ name }) => name === metric);
}

/** The newest value that is known. */
export function newest(values: readonly (number | null)[]): number | null {
  return values.findLast((value) => value !== null) ?? null;
}

/** The samples' stream: open while somebody looks at what they feed. */
class UsageFeed {
  #source: EventSource | undefined;
  #listeners = new Set<() => void>();
  #sample: UsageSample | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #pause = FIRST_PAUSE;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stop();
    };
  };

  readonly snapshot = (): UsageSample | undefined => this.#sample;

  #start(): void {
    document.addEventListener('visibilitychange', this.#visibility);
    if (!document.hidden) this.#open();
  }

  #stop(): void {
    document.removeEventListener('visibilitychange', this.#visibility);
    this.#close();
    this.#sample = undefined;
  }

  #open(): void {
    this.#close();
    const source = new EventSource('/api/v1/events?kinds=Usage');
    this.#source = source;
    source.addEventListener('usage', (event: MessageEvent<string>) => {
      this.#pause = FIRST_PAUSE;
      this.#sample = JSON.parse(event.data) as UsageSample;
      for (const tell of this.#listeners) tell();
    });
    source.addEventListener('error', () => {
      if (source !== this.#source) return;
      // Whether the session ended is found out by the stream of changes.
      this.#close();
      this.#retry = setTimeout(() => this.#open(), this.#pause);
      this.#pause = Math.min(this.#pause * 2, LAST_PAUSE);
    });
  }

  #close(): void {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = undefined;
  }

  readonly #visibility = (): void => {
    if (document.hidden) this.#close();
    else if (this.#source === undefined) this.#open();
  };
}

/** Before a stream that broke is opened again, in milliseconds. */
const FIRST_PAUSE = 1000;
const LAST_PAUSE = 30_000;

const feed = new UsageFeed();

/** What everything that the caller may see uses now; undefined until it was told. */
export function useUsageSample(): UsageSample | undefined {
  return useSyncExternalStore(feed.subscribe, feed.snapshot);
}

export const usageKey = (of: UsageOf, range: UsageRange) => ['usage', of, range] as const;

function fetchUsage(of: UsageOf, range: UsageRange, signal: AbortSignal): Promise<Usage> {
  const query = { range };
  switch (of.of) {
    case 'app': {
      const params = { path: { project: of.project, app: of.name }, query };
      return data(client.GET('/api/v1/projects/{project}/apps/{app}/usage', { params, signal }));
    }
    case 'pod': {
      const params = { path: { project: of.project, pod: of.name }, query };
      return data(client.GET('/api/v1/projects/{project}/pods/{pod}/usage', { params, signal }));
    }
    case 'node': {
      const params = { path: { node: of.name }, query };
      return data(client.GET('/api/v1/nodes/{node}/usage', { params, signal }));
    }
    case 'platform':
      return data(client.GET('/api/v1/system/usage', { params: { query }, signal }));
  }
}

/** What is measured of one thing in a sample; undefined where a sample does not tell it as its past does. */
export function amountsIn(sample: UsageSample, of: UsageOf): Amounts | undefined {
  switch (of.of) {
    case 'app':
      return sample.apps.find(({ project, name }) => project === of.project && name === of.name);
    case 'pod':
      return sample.pods.find(({ project, name }) => project === of.project && name === of.name);
    case 'node':
      return sample.nodes.find(({ name }) => name === of.name);
    case 'platform':
      return undefined;
  }
}

/**
 * The past with a sample at its end, as many values as before; the same one where the sample is in it already, and
 * undefined where only the platform can tell how it goes on.
 */
export function continued(past: Usage, sample: UsageSample, of: UsageOf): Usage | undefined {
  const length = past.series[0]?.values.length;
  if (length === undefined) return undefined;
  const step = past.step_seconds * 1000;
  const from = new Date(past.from).getTime();
  const at = new Date(sample.at).getTime();
  const place = Math.floor((at - from) / step);
  if (place < length) return past;
  const now = amountsIn(sample, of);
  if (now === undefined || place > length) return undefined;
  return {
    ...past,
    from: new Date(from + step).toISOString(),
    series: past.series.map((series) => ({ ...series, values: [...series.values.slice(1), now[series.name] ?? null] })),
  };
}

/** What something used, up to now. */
export function useUsage(of: UsageOf, range: UsageRange, enabled = true) {
  const cache = useQueryClient();
  const query = useQuery({
    queryKey: usageKey(of, range),
    queryFn: ({ signal }) => fetchUsage(of, range, signal),
    // A chart that was left behind begins with what is true.
    gcTime: 0,
    enabled,
  });
  const name = JSON.stringify(of);
  useEffect(() => {
    if (!enabled) return undefined;
    const whose = JSON.parse(name) as UsageOf;
    const key = usageKey(whose, range);
    return feed.subscribe(() => {
      const sample = feed.snapshot();
      const past = cache.getQueryData<Usage>(key);
      if (sample === undefined || past === undefined) return;
      const next = continued(past, sample, whose);
      if (next === undefined) void cache.invalidateQueries({ queryKey: key });
      else if (next !== past) cache.setQueryData(key, next);
    });
  }, [cache, name, range, enabled]);
  return query;
}
