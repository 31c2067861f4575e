/** Pods: what they use, what they are filtered by, and how they are described by their engine. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { client, data } from './client';
import type { Pod, PodSample, UsageSample } from './schema';

/** A pod with what it uses now. */
export interface PodRow {
  key: string;
  pod: Pod;
  used: PodSample | undefined;
}

/** The names of a pod, for keys and links. */
export interface PodRef {
  project: string;
  pod: string;
}

export function podRef({ metadata }: Pod): PodRef {
  return { project: metadata.project ?? '', pod: metadata.name };
}

export function podKey({ metadata }: Pod): string {
  return `${metadata.project ?? ''}/${metadata.name}`;
}

export function podPhase(pod: Pod): string {
  return pod.status.phase ?? 'pending';
}

/** Rows by their pod: one that did not change is the very same, and is not drawn again. */
const known = new WeakMap<Pod, PodRow>();

export function podRows(pods: readonly Pod[], sample: UsageSample | undefined): PodRow[] {
  const used = new Map(sample?.pods.map((one) => [`${one.project}/${one.name}`, one]));
  return pods.map((pod) => {
    const before = known.get(pod);
    const key = before?.key ?? podKey(pod);
    const now = used.get(key);
    if (before !== undefined && before.used === now) return before;
    const row: PodRow = { key, pod, used: now };
    known.set(pod, row);
    return row;
  });
}

export interface PodFilter {
  phase?: string | undefined;
  node?: string | undefined;
  app?: string | undefined;
}

/** What stands for pods of no app in the filter by app: no app has such a name. */
export const NO_APP = '-';

export function passesFilter(pod: Pod, { phase, node, app }: PodFilter): boolean {
  return (
    (phase === undefined || podPhase(pod) === phase) &&
    (node === undefined || pod.status.node === node) &&
    (app === undefined || (pod.spec.app ?? NO_APP) === app)
  );
}

/** Variables as people type them: `NAME=value` on each line; `#` begins a remark. */
export function parseVariables(text: string): { env: Record<string, string>; wrong: string | undefined } {
  const env: Record<string, string> = {};
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const found = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line);
    if (found === null)
      return { env, wrong: `Line ${index + 1} is no NAME=value. Names have letters, digits and underscores.` };
    env[found[1] ?? ''] = found[2] ?? '';
  }
  return { env, wrong: undefined };
}

/** `version` changes with the pod: a description is of one moment. */
export function useDescription(ref: PodRef, version: string, enabled: boolean) {
  return useQuery({
    queryKey: ['description', ref.project, ref.pod, version],
    queryFn: ({ signal }) =>
      data(client.GET('/api/v1/projects/{project}/pods/{pod}/description', { params: { path: ref }, signal })),
    enabled,
    placeholderData: keepPreviousData,
    gcTime: 0,
  });
}
