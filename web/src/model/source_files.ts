/**
 * The files of a source, from whatever somebody dropped or chose: a folder, files, an archive.
 *
 * Theory of operation: a folder is walked one level after the other, and what is left out is not walked into, so that
 * a `node_modules` of a hundred thousand files costs nothing. File contents are opened when they are packed.
 */
import { type IgnoreFile, type IgnoreKind, isIgnored, isNever, mayKeepBelow, parseIgnore } from './source_ignore';

/** A file of a source. */
export interface SourceFile {
  /** Within the source, with `/` between names. */
  path: string;
  size: number;
  modified: Date | undefined;
  /** What it may be used for, where that is known: `0o755`. */
  mode: number | undefined;
  open: () => ReadableStream<Uint8Array>;
}

/** A folder that can be walked. */
export interface Folder {
  name: string;
  list: () => Promise<(Folder | Leaf)[]>;
}

export interface Leaf {
  name: string;
  file: () => Promise<File>;
}

/** What was found. */
export interface Gathered {
  /** What the folder or archive is called: an app may be called after it. */
  name: string;
  files: SourceFile[];
  bytes: number;
  /** What was left out, the first of it. */
  leftOut: string[];
  leftOutCount: number;
  /** What said so, beside the things that never are sent. */
  by: IgnoreKind | null;
}

/** A source that cannot be sent, in words for who chose it. */
export class BadSource extends Error {
  override readonly name = 'BadSource';
}

/** No source has more files. */
export const MOST_FILES = 50_000;
/** So many names of what was left out are told. */
const TOLD = 50;
/** An ignore file of more bytes is none. */
const MOST_IGNORE = 256 * 1024;

const isFolder = (entry: Folder | Leaf): entry is Folder => 'list' in entry;

/** Walks a folder. `everything` leaves out only what is never sent. */
export async function gather(
  root: Folder,
  options: { everything: boolean; signal: AbortSignal; onFound?: (files: number) => void },
): Promise<Gathered> {
  const found: Gathered = { name: root.name, files: [], bytes: 0, leftOut: [], leftOutCount: 0, by: null };
  const omit = (path: string) => {
    found.leftOutCount += 1;
    if (found.leftOut.length < TOLD) found.leftOut.push(path);
  };
  const top = await root.list();
  const docker = options.everything ? undefined : await ignoreFile('.dockerignore', top, '');
  const kind: IgnoreKind = docker === undefined ? '.gitignore' : '.dockerignore';
  const walk = async (
    entries: (Folder | Leaf)[],
    base: string,
    above: readonly IgnoreFile[],
    parentOut: boolean,
  ): Promise<void> => {
    const own =
      kind === '.gitignore' && !options.everything ? await ignoreFile('.gitignore', entries, base) : undefined;
    const rules = own === undefined ? above : [...above, own];
    if (own !== undefined) found.by = '.gitignore';
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      options.signal.throwIfAborted();
      const path = base + entry.name;
      const folder = isFolder(entry);
      if (isNever(entry.name)) {
        omit(folder ? `${path}/` : path);
        continue;
      }
      // Below a folder that Docker's rules leave out, only an exception brings something back.
      const out = isIgnored(rules, path, folder) || (parentOut && !keptBelow(rules, path));
      if (folder) {
        if (!out || mayKeepBelow(kind, rules)) await walk(await entry.list(), `${path}/`, rules, out);
        else omit(`${path}/`);
        continue;
      }
      if (out && !needed(path)) {
        omit(path);
        continue;
      }
      if (found.files.length >= MOST_FILES) {
        throw new BadSource(
          `The folder has more than ${MOST_FILES.toLocaleString()} files. Leave some out with a .dockerignore.`,
        );
      }
      const file = await entry.file();
      found.files.push(sourceFile(path, file));
      found.bytes += file.size;
      if (found.files.length % 100 === 0) options.onFound?.(found.files.length);
    }
  };
  if (docker !== undefined) found.by = '.dockerignore';
  await walk(top, '', docker === undefined ? [] : [docker], false);
  return found;
}

/** What says how to build is needed even where it is left out of the image. */
function needed(path: string): boolean {
  return ['Dockerfile', '.dockerignore', 'coracle.toml', 'Procfile'].includes(path);
}

function keptBelow(files: readonly IgnoreFile[], path: string): boolean {
  return files.some(({ rules }) => rules.some(({ keep, matches }) => keep && matches(path)));
}

async function ignoreFile(kind: IgnoreKind, entries: (Folder | Leaf)[], base: string): Promise<IgnoreFile | undefined> {
  const entry = entries.find((entry) => entry.name === kind);
  if (entry === undefined || isFolder(entry)) return undefined;
  const file = await entry.file();
  return file.size > MOST_IGNORE ? undefined : parseIgnore(kind, await file.text(), base);
}

export function sourceFile(path: string, file: File): SourceFile {
  return {
    path,
    size: file.size,
    modified: new Date(file.lastModified),
    mode: undefined,
    open: () => file.stream(),
  };
}

/** A folder out of a drop. */
export function droppedFolder(entry: FileSystemDirectoryEntry): Folder {
  return {
    name: entry.name,
    list: async () => {
      const reader = entry.createReader();
      const all: (Folder | Leaf)[] = [];
      for (;;) {
        // A reader tells a hundred at a time, and nothing when it told all.
        const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
        if (some.length === 0) return all;
        for (const one of some) all.push(dropped(one));
      }
    },
  };
}

function dropped(entry: FileSystemEntry): Folder | Leaf {
  if (entry.isDirectory) return droppedFolder(entry as FileSystemDirectoryEntry);
  return {
    name: entry.name,
    file: () => new Promise((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)),
  };
}

/** A folder of files that somebody chose. Their paths begin with the chosen folder's name, where one was chosen. */
export function chosenFolder(files: readonly File[]): Folder {
  interface Tree {
    folders: Map<string, Tree>;
    files: Map<string, File>;
  }
  const tree = (): Tree => ({ folders: new Map(), files: new Map() });
  const root = tree();
  for (const file of files) {
    const names = (file.webkitRelativePath || file.name).split('/');
    let at = root;
    for (const name of names.slice(0, -1)) {
      const next = at.folders.get(name) ?? tree();
      at.folders.set(name, next);
      at = next;
    }
    at.files.set(names.at(-1) ?? file.name, file);
  }
  const folder = (name: string, from: Tree): Folder => ({
    name,
    list: () =>
      Promise.resolve([
        ...[...from.folders].map(([name, below]) => folder(name, below)),
        ...[...from.files].map(([name, file]) => ({ name, file: () => Promise.resolve(file) })),
      ]),
  });
  const [only] = root.folders;
  return only !== undefined && root.folders.size === 1 && root.files.size === 0
    ? folder(only[0], only[1])
    : folder('', root);
}

/** What a file is, by its name. */
export function archiveKind(name: string): 'zip' | 'tar.gz' | 'tar' | 'tar.zst' | undefined {
  const lower = name.toLowerCase();
  if (lower.endsWith('.zip')) return 'zip';
  if (lower.endsWith('.tar.gz') || lower.endsWith('.tgz')) return 'tar.gz';
  if (lower.endsWith('.tar.zst')) return 'tar.zst';
  return lower.endsWith('.tar') ? 'tar' : undefined;
}

/** `My App-1.2.zip` → `my-app-1-2`: what an app may be called; undefined when nothing is left of it. */
export function appName(from: string): string | undefined {
  const name = from
    .replace(/\.(zip|tgz|tar|tar\.gz|tar\.zst|git)$/i, '')
    .normalize('NFKD')
    .toLowerCase()
    .replace(/\p{M}/gu, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 40)
    .replace(/-+$/, '');
  return name === '' ? undefined : name;
}
