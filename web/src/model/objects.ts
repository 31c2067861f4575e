/** The kinds of object that the platform tells of live, and how each is found in the cache. */
import type { App, Build, Node, Pod, Project, Release } from './schema';

/** By kind: what the platform tells of. */
export interface LiveKinds {
  Project: Project;
  App: App;
  Build: Build;
  Release: Release;
  Pod: Pod;
  Node: Node;
}

export type LiveKind = keyof LiveKinds;
export type LiveObject = LiveKinds[LiveKind];

export const LIVE_KINDS: readonly LiveKind[] = ['Project', 'App', 'Build', 'Release', 'Pod', 'Node'];

/** Everything of one kind that the caller may see, by `objectKey`. Replaced whole with each change, never changed. */
export type Collection<T> = ReadonlyMap<string, T>;

/** What an object, or the notice of its deletion, is found by. */
export interface Identified {
  kind?: string;
  metadata: { name: string; project?: string | null };
  spec?: unknown;
}

/** Builds and releases are numbered within their app; other names are within their project. */
export function objectKey(object: Identified): string {
  const spec = (object.spec ?? {}) as { app?: string | null };
  const meta = object.metadata as { app?: string | null; name: string; project?: string | null };
  const within = object.kind === 'Build' || object.kind === 'Release' ? (spec.app ?? meta.app ?? '') : '';
  return `${meta.project ?? ''}/${within}/${meta.name}`;
}

/** The key of an object by its names. */
export function keyOf(kind: LiveKind, project: string | null, name: string, app = ''): string {
  return objectKey({ kind, metadata: { name, project }, spec: { app } });
}

/** The names of an app, for keys and links. */
export interface AppRef {
  project: string;
  app: string;
}
