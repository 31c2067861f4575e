/** Releases in words, and what is different between two of them. Every text of theirs is others' and stays text. */
import type { CommandLine, Health, Origin, ProcessSpec, Release, RunConfig, Scale } from './schema';

/** What a release was made from. */
export function originWords(origin: Origin): string {
  switch (origin.from) {
    case 'build':
      return `Build b${origin.build}`;
    case 'image':
      return 'An image';
    case 'rollback':
      return `Back to v${origin.release}`;
    case 'config':
      return `v${origin.release} with other variables`;
    case 'promotion':
      return `Promoted from ${origin.app} v${origin.release} in ${origin.project}`;
  }
}

/** The image that a release runs: what it was pinned to, or what it asked for where it never came to that. */
export function imageOf(release: Release): string {
  return release.status.image?.reference ?? release.spec.image;
}

/** `127.0.0.1:7070/default/hello@sha256:328d…` → `default/hello@328dfee80bb2`, as short as it stays recognisable. */
export function shortImage(reference: string): string {
  const [name = '', digest] = reference.split('@');
  const local = /^sha256:[0-9a-f]{64}$/.test(name) ? `image ${name.slice(7, 19)}` : name;
  const path = local.replace(/^(?:localhost|[^/]*[.:][^/]*)\//, '');
  return digest === undefined ? path : `${path}@${digest.replace(/^sha256:/, '').slice(0, 12)}`;
}

/** The repository and the reference by which the dashboard shows an image; undefined where it is not the registry's. */
export function inRegistry(reference: string, project: string): { repository: string; ref: string } | undefined {
  const found = /^[^/]*[.:][^/]*\/([a-z0-9._/-]+)@(sha256:[0-9a-f]{64})$/.exec(reference);
  const [, repository, ref] = found ?? [];
  if (repository === undefined || ref === undefined || !repository.startsWith(`${project}/`)) return undefined;
  return { repository, ref };
}

/** A release can be gone back to once it had an image. */
export const canGoBackTo = (release: Release): boolean => release.status.image != null;

export const isDeploying = (release: Release): boolean =>
  release.status.phase === 'pending' || release.status.phase === 'deploying';

/** The release that runs: the live one, else the newest. It is what a change of the configuration builds on. */
export function baseRelease(releases: readonly Release[], live: number | null | undefined): Release | undefined {
  return releases.find(({ spec }) => spec.number === live) ?? newestRelease(releases);
}

export function newestRelease(releases: readonly Release[]): Release | undefined {
  return releases.reduce<Release | undefined>(
    (best, release) => (best === undefined || release.spec.number > best.spec.number ? release : best),
    undefined,
  );
}

/** The one to go back to when nothing is said: that was live before the present one. */
export function previousRelease(releases: readonly Release[], live: number | null | undefined): Release | undefined {
  return newestRelease(
    releases.filter(
      (release) =>
        release.status.phase === 'superseded' &&
        canGoBackTo(release) &&
        release.spec.number < (live ?? Number.POSITIVE_INFINITY),
    ),
  );
}

/** A command as one types it: a line for the shell, or words as JSON. */
export function commandText(command: CommandLine | null | undefined): string | null {
  if (command === null || command === undefined) return null;
  return typeof command === 'string' ? command : JSON.stringify(command);
}

function healthText(health: Health | null | undefined): string | null {
  if (health === null || health === undefined) return null;
  const what = health.path == null ? 'port takes connections' : `answers at ${health.path}`;
  const times = [
    health.interval && `every ${health.interval}`,
    health.timeout && `within ${health.timeout}`,
    health.grace && `${health.grace} to start`,
    health.failures && `${health.failures} failures`,
  ];
  return [what, ...times].filter(Boolean).join(', ');
}

function scaleText(scale: Scale | null | undefined): string | null {
  if (scale === null || scale === undefined) return null;
  return `${scale.min} to ${scale.max} pods${scale.idle == null ? '' : `, sleeps after ${scale.idle}`}`;
}

type Texts = ReadonlyMap<string, string>;

/** What is said of a process, by its name in words. What is not said is left to the image or to the platform. */
export function processTexts(spec: ProcessSpec): Texts {
  const texts: [string, string | null | undefined][] = [
    ['Command', commandText(spec.command)],
    ['Port', spec.port?.toString()],
    ['Pods', spec.replicas?.toString()],
    ['Processors', spec.cpu == null ? null : String(spec.cpu)],
    ['Memory', spec.memory],
    ['Health check', healthText(spec.health)],
    ['Automatic scaling', scaleText(spec.scale)],
    ['Time to stop', spec.stop_grace],
  ];
  return new Map(texts.filter((text): text is [string, string] => text[1] !== null && text[1] !== undefined));
}

/** One difference. `null`: it is not there. */
export interface Difference {
  what: string;
  before: string | null;
  after: string | null;
}

export interface DifferenceGroup {
  title: string;
  differences: Difference[];
}

function compared(before: Texts, after: Texts): Difference[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .map((what) => ({ what, before: before.get(what) ?? null, after: after.get(what) ?? null }))
    .filter((difference) => difference.before !== difference.after);
}

const texts = (pairs: readonly (readonly [string, string])[]): Texts => new Map(pairs);

function volumes(config: RunConfig): Texts {
  return texts(
    (config.volumes ?? []).map(({ name, path, size }) => [name, size == null ? path : `${path}, ${size}`] as const),
  );
}

/** What is different in `after`; groups without differences are left out. */
export function releaseDiff(before: Release, after: Release): DifferenceGroup[] {
  const [was, is] = [before.spec.config, after.spec.config];
  const image = compared(texts([['Image', imageOf(before)]]), texts([['Image', imageOf(after)]]));
  const names = [...new Set([...Object.keys(was.processes ?? {}), ...Object.keys(is.processes ?? {})])].sort();
  const none: Texts = new Map();
  const processes = names.map((name): DifferenceGroup => {
    // Names are others' words: `constructor` is one of a process too.
    const [old, now] = [own(was.processes, name), own(is.processes, name)];
    return {
      title:
        old === undefined ? `Process ${name}, new` : now === undefined ? `Process ${name}, gone` : `Process ${name}`,
      differences: compared(old === undefined ? none : processTexts(old), now === undefined ? none : processTexts(now)),
    };
  });
  const command = (config: RunConfig): Texts => {
    const text = commandText(config.release_command);
    return text === null ? none : texts([['Runs before each release', text]]);
  };
  return [
    { title: 'Image', differences: image },
    ...processes,
    { title: 'Release command', differences: compared(command(was), command(is)) },
    {
      title: 'Variables of the source',
      differences: compared(texts(Object.entries(was.env ?? {})), texts(Object.entries(is.env ?? {}))),
    },
    { title: 'Volumes', differences: compared(volumes(was), volumes(is)) },
  ].filter(({ differences }) => differences.length > 0);
}

/** A value under a name that somebody else chose. */
export function own<T>(record: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, name) ? record[name] : undefined;
}
