/** What the platform tells of live, for components. */
import { useQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useSyncExternalStore } from 'react';
import { live } from './cache';
import { collectionKey, type LiveState, type Notice } from './live';
import { type AppRef, type Collection, keyOf, type LiveKind, type LiveKinds } from './objects';
import type { App, Build, Node, Pod, Project, Release } from './schema';

/** Nothing asks for a collection: the stream brings it. */
const NEVER = () => new Promise<never>(() => undefined);

/** Everything of a kind that `select` makes of it; undefined until the platform has told all of it. */
export function useCollection<K extends LiveKind, T>(
  kind: K,
  select: (all: Collection<LiveKinds[K]>) => T,
): T | undefined {
  const query = useQuery<Collection<LiveKinds[K]>, Error, T>({
    queryKey: collectionKey(kind),
    queryFn: NEVER,
    select,
    structuralSharing: false,
    gcTime: Number.POSITIVE_INFINITY,
  });
  return query.data;
}

/** `web-2` before `web-10`. One for all comparisons: making one takes longer than a hundred of them. */
const NATURAL = new Intl.Collator(undefined, { numeric: true });

function byName<T extends { metadata: { name: string } }>(a: T, b: T): number {
  return NATURAL.compare(a.metadata.name, b.metadata.name);
}

function inProject<T extends { metadata: { project?: string | null; name: string } }>(
  all: Collection<T>,
  project: string | undefined,
): T[] {
  const items = [...all.values()];
  return (project === undefined ? items : items.filter((item) => item.metadata.project === project)).sort(byName);
}

/** Objects of a kind, in one project or in all that the caller sees, by name. */
export function useList<K extends 'App' | 'Pod' | 'Build' | 'Release'>(kind: K, project?: string) {
  return useCollection(
    kind,
    useCallback((all: Collection<LiveKinds[K]>) => inProject<LiveKinds[K]>(all, project), [project]),
  );
}

export const useProjects = (): Project[] | undefined => useCollection('Project', allByName<Project>);
export const useNodes = (): Node[] | undefined => useCollection('Node', allByName<Node>);
export const useApps = (project?: string): App[] | undefined => useList('App', project);
export const usePods = (project?: string): Pod[] | undefined => useList('Pod', project);

function allByName<T extends { metadata: { name: string } }>(all: Collection<T>): T[] {
  return [...all.values()].sort(byName);
}

/** One object; `null` when there is none, undefined until that is known. */
export function useOne<K extends LiveKind>(kind: K, project: string | null, name: string, app?: string) {
  return useCollection(
    kind,
    useCallback(
      (all: Collection<LiveKinds[K]>): LiveKinds[K] | null => all.get(keyOf(kind, project, name, app)) ?? null,
      [kind, project, name, app],
    ),
  );
}

export const useApp = ({ project, app }: AppRef): App | null | undefined => useOne('App', project, app);

/** An app's pods, by name. */
export function useAppPods({ project, app }: AppRef): Pod[] | undefined {
  return useCollection(
    'Pod',
    useCallback(
      (all: Collection<Pod>) => inProject(all, project).filter((pod) => pod.spec.app === app),
      [project, app],
    ),
  );
}

/** An app's releases, the newest first. */
export function useReleases({ project, app }: AppRef): Release[] | undefined {
  return useCollection(
    'Release',
    useCallback(
      (all: Collection<Release>) =>
        inProject(all, project)
          .filter((release) => release.spec.app === app)
          .sort((a, b) => b.spec.number - a.spec.number),
      [project, app],
    ),
  );
}

/** An app's builds, the newest first. */
export function useBuilds({ project, app }: AppRef): Build[] | undefined {
  return useCollection(
    'Build',
    useCallback(
      (all: Collection<Build>) =>
        inProject(all, project)
          .filter((build) => build.spec.app === app)
          .sort((a, b) => b.spec.number - a.spec.number),
      [project, app],
    ),
  );
}

/** Whether changes arrive. */
export function useLiveState(): LiveState {
  return useSyncExternalStore(live.subscribe, live.snapshot);
}

/** Calls `listener` with each change; it must be stable. */
export function useNotices(listener: (notices: readonly Notice[]) => void): void {
  useEffect(() => live.onNotices(listener), [listener]);
}
