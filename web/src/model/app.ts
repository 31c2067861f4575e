/** An app as a whole: its address in the dashboard, whether it is stopped, and what happened to it. */
import type { Activity } from './activity';
import type { AppRef } from './objects';
import type { App, Release } from './schema';

/** Where an app's pages are. */
export const appPath = ({ project, app }: AppRef): string =>
  `/projects/${encodeURIComponent(project)}/apps/${encodeURIComponent(app)}`;

export function refOf({ metadata }: App): AppRef {
  return { project: metadata.project ?? '', app: metadata.name };
}

/** How many pods each process should have, as somebody scaled it, else as the release says. */
export function wishes(app: App, release: Release | undefined): Record<string, number> {
  const processes = Object.entries(release?.spec.config.processes ?? {});
  return Object.fromEntries([
    ...processes.map(([name, spec]) => [name, spec.replicas ?? 1] as const),
    ...Object.entries(app.spec.scale ?? {}).filter(([name]) => processes.some(([process]) => process === name)),
  ]);
}

/** Did somebody scale everything of it to nothing? */
export function isStopped(app: App, release: Release | undefined): boolean {
  const all = Object.values(wishes(app, release));
  return all.length > 0 && all.every((wish) => wish === 0);
}

/** What a stopped app starts with: what its release says, and at least one pod of each process. */
export function startScales(release: Release | undefined): Record<string, number> {
  return Object.fromEntries(
    Object.entries(release?.spec.config.processes ?? {}).map(([name, spec]) => [name, Math.max(1, spec.replicas ?? 1)]),
  );
}

/** Is it of this app: itself, one of its builds and releases (`app/v3`), or one of its pods (`app-web-v3-x7k2`)? */
export function isOf({ project, app }: AppRef, { metadata, spec }: Activity, others: readonly string[]): boolean {
  if (metadata.project !== project) return false;
  const { kind, object } = spec;
  if (object === app) return kind !== 'Pod' && kind !== 'Volume' && kind !== 'Source';
  if (object.startsWith(`${app}/`)) return true;
  if (kind !== 'Pod' || !object.startsWith(`${app}-`)) return false;
  // `shop-api-web-v1-…` is of the app `shop-api`, where there is one, rather than of `shop`.
  return !others.some((other) => other.length > app.length && object.startsWith(`${other}-`));
}
