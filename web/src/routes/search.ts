/** What addresses say behind the `?`, read without trust: what is not understood is left out. */

type Raw = Record<string, unknown>;

function text(raw: Raw, name: string): string | undefined {
  const value = raw[name];
  if (typeof value === 'string' && value !== '') return value;
  return typeof value === 'number' ? String(value) : undefined;
}

/**
 * The named words; undefined where there is none. Every name is there: what the router finds missing it takes from the
 * address as it stands, unread.
 */
const pick =
  <const N extends string>(...names: N[]) =>
  (raw: Raw): { [K in N]?: string | undefined } =>
    Object.fromEntries(names.map((name) => [name, text(raw, name)])) as { [K in N]?: string | undefined };

/** `next`: where to go after the login, within the dashboard. */
export const login = (raw: Raw): { next?: string | undefined } => {
  const next = text(raw, 'next');
  // Only a path of ours: `//host` and `/\host` would lead elsewhere.
  return { next: next !== undefined && /^\/(?![/\\])/.test(next) ? next : undefined };
};
/** `source`: what is looked at before it is deployed; `build` or `release`: the deployment that is followed. */
export const create = pick('project', 'from', 'app', 'source', 'build', 'release');
export const apps = pick('project', 'q', 'order', 'phase', 'view');
export const projects = pick('q', 'create');
export const list = pick('project', 'q', 'order');
export const builds = pick('project', 'q', 'order', 'phase');
export const pods = pick('project', 'q', 'order', 'phase', 'node', 'app', 'create');
export const pod = pick('tab');
export const releases = pick('release', 'against');
export const logs = pick('process', 'pod', 'q', 'since');
export const terminal = pick('pod', 'command');
export const range = pick('range');
export const image = pick('ref');
export const activity = pick('project', 'q', 'kind', 'actor', 'object');
/** `create`: the dialog that makes one is open. */
export const people = pick('q', 'create');
export const tokens = pick('create');
export const reference = pick('q', 'operation');
