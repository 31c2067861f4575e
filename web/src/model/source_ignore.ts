/**
 * What of a folder is not sent.
 *
 * Theory of operation: a `.dockerignore` at the top decides alone, because its author thought of builds; without one
 * the `.gitignore` files do, each for its folder and what is below it. The last line that matches decides. Some things
 * are of no use to any build and are never sent. The platform applies a `.dockerignore` again, with Docker's very
 * rules: what is left out here only saves the time of sending it.
 */

/** Of no use to any build: made again by it, or about the folder and not in it. */
const NEVER = new Set(['.git', '.hg', '.svn', 'node_modules', '__pycache__', '.venv', '.DS_Store', 'Thumbs.db']);

/** More lines of one file are not looked at, and none that is longer: each costs time for each file. */
const MOST_LINES = 2000;
const LONGEST = 1024;

interface Rule {
  matches: (path: string) => boolean;
  keep: boolean;
  folderOnly: boolean;
}

export interface IgnoreFile {
  /** The folder that its patterns are relative to, with a slash at its end; empty for the top. */
  base: string;
  rules: readonly Rule[];
}

export type IgnoreKind = '.dockerignore' | '.gitignore';

/** Is it never sent, whatever the files say? */
export function isNever(name: string): boolean {
  return NEVER.has(name);
}

/** A piece of a pattern: a sign, any sign of a name, any of them, any folders, or anything. */
type Piece = { is: 'sign'; test: (sign: string) => boolean } | { is: 'star' | 'folders' | 'all' };

const SIGN = (test: (sign: string) => boolean): Piece => ({ is: 'sign', test });
const same = (wanted: string) => SIGN((sign) => sign === wanted);

/** The pieces of a pattern. It is no regular expression: those take forever on patterns that are made for that. */
function pieces(glob: string): Piece[] {
  const out: Piece[] = [];
  const signs = [...glob];
  for (let i = 0; i < signs.length; i += 1) {
    const sign = signs[i] ?? '';
    if (sign === '*') {
      let stars = 1;
      while (signs[i + 1] === '*') {
        i += 1;
        stars += 1;
      }
      if (stars === 1) out.push({ is: 'star' });
      else if (signs[i + 1] === '/') {
        i += 1;
        out.push({ is: 'folders' });
      } else out.push({ is: 'all' });
    } else if (sign === '?') out.push(SIGN((at) => at !== '/'));
    else if (sign === '[') {
      const end = signs.indexOf(']', i + 2);
      if (end < 0) out.push(same(sign));
      else {
        out.push(SIGN(oneOf(signs.slice(i + 1, end))));
        i = end;
      }
    } else if (sign === '\\' && i + 1 < signs.length) {
      i += 1;
      out.push(same(signs[i] ?? ''));
    } else out.push(same(sign));
  }
  return out;
}

/** `a-z0`, or with `!` or `^` in front everything else. */
function oneOf(inside: readonly string[]): (sign: string) => boolean {
  const not = inside[0] === '!' || inside[0] === '^';
  const signs = not ? inside.slice(1) : inside;
  const ranges: [string, string][] = [];
  for (let i = 0; i < signs.length; i += 1) {
    const from = signs[i] ?? '';
    const to = signs[i + 2];
    if (signs[i + 1] === '-' && to !== undefined) {
      ranges.push([from, to]);
      i += 2;
    } else ranges.push([from, from]);
  }
  return (sign) => sign !== '/' && ranges.some(([from, to]) => sign >= from && sign <= to) !== not;
}

/** Whether the whole path is as the pattern says: all places of the pattern that fit are followed side by side. */
function fits(pattern: readonly Piece[], path: string): boolean {
  let at = new Set<number>();
  const enter = (set: Set<number>, place: number) => {
    let next = place;
    set.add(next);
    // What may be nothing is passed over as well.
    while (next < pattern.length && pattern[next]?.is !== 'sign') {
      next += 1;
      set.add(next);
    }
  };
  enter(at, 0);
  for (const sign of path) {
    const after = new Set<number>();
    for (const place of at) {
      const piece = pattern[place];
      if (piece === undefined) continue;
      if (piece.is === 'sign') {
        if (piece.test(sign)) enter(after, place + 1);
      } else if (piece.is === 'star') {
        if (sign !== '/') enter(after, place);
      } else if (piece.is === 'all') enter(after, place);
      else {
        // Folders are whole: what comes after them begins behind a slash.
        after.add(place);
        if (sign === '/') enter(after, place + 1);
      }
    }
    at = after;
    if (at.size === 0) return false;
  }
  return at.has(pattern.length);
}

/** Reads a file's text. Lines that are no pattern are left out. */
export function parseIgnore(kind: IgnoreKind, text: string, base = ''): IgnoreFile {
  const rules: Rule[] = [];
  for (const line of text.replace(/^\uFEFF/, '').split(/\r?\n/, MOST_LINES)) {
    const trimmed = kind === '.gitignore' ? line.replace(/(?<!\\)\s+$/, '') : line.trim();
    if (trimmed === '' || trimmed.startsWith('#') || trimmed.length > LONGEST) continue;
    const keep = trimmed.startsWith('!');
    const glob = keep ? trimmed.slice(1) : trimmed;
    const folderOnly = kind === '.gitignore' && glob.endsWith('/');
    const plain = glob.replace(/^\.?\/+/, '').replace(/\/+$/, '');
    if (plain === '' || plain === '.') continue;
    // Git matches a name without a slash at any depth, Docker at the top only.
    const anywhere = kind === '.gitignore' && !glob.replace(/\/+$/, '').includes('/');
    const pattern = pieces(anywhere ? `**/${plain}` : plain);
    rules.push({ matches: (path) => fits(pattern, path), keep, folderOnly });
  }
  return { base, rules };
}

/** Whether a path itself is left out by the files that hold where it is; what is above it is not looked at. */
export function isIgnored(files: readonly IgnoreFile[], path: string, folder: boolean): boolean {
  let ignored = false;
  for (const { base, rules } of files) {
    if (!path.startsWith(base)) continue;
    const below = path.slice(base.length);
    for (const { matches, keep, folderOnly } of rules) {
      if (ignored === keep && (folder || !folderOnly) && matches(below)) ignored = !keep;
    }
  }
  return ignored;
}

/** May something below a folder that is left out be kept after all? Docker allows that, Git does not. */
export function mayKeepBelow(kind: IgnoreKind, files: readonly IgnoreFile[]): boolean {
  return kind === '.dockerignore' && files.some(({ rules }) => rules.some(({ keep }) => keep));
}
