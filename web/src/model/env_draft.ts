/**
 * A change of variables in the making.
 *
 * Theory of operation: rows stand beside what the platform had when they were made (`base`). What somebody typed is in
 * the rows only; when the platform tells of newer variables, rows that nobody touched follow and the others stay.
 */
import { type EnvVars, nameProblem, type PastedVariable, valueProblem } from './env';
import { own } from './release';
import type { EnvChange } from './schema';

export interface EnvRow {
  id: number;
  name: string;
  value: string;
  secret: boolean;
  /** Is it one that the platform has? Its name cannot be changed. */
  known: boolean;
  /** A secret's value is not told: it is set only when somebody typed one. */
  typed: boolean;
  removed: boolean;
}

export interface EnvDraft {
  base: EnvVars;
  revision: number;
  rows: readonly EnvRow[];
  next: number;
}

export function draftOf(vars: EnvVars, revision: number): EnvDraft {
  const names = Object.keys(vars).sort();
  const rows = names.map((name, id) => knownRow(id, name, vars));
  return { base: vars, revision, rows, next: rows.length };
}

function knownRow(id: number, name: string, vars: EnvVars): EnvRow {
  const view = own(vars, name);
  return {
    id,
    name,
    value: view?.value ?? '',
    secret: view?.secret ?? false,
    known: true,
    typed: false,
    removed: false,
  };
}

export function withRow(draft: EnvDraft, id: number, change: Partial<Omit<EnvRow, 'id' | 'known'>>): EnvDraft {
  return { ...draft, rows: draft.rows.map((row) => (row.id === id ? { ...row, ...change } : row)) };
}

export function withNew(draft: EnvDraft, given: { name: string; value: string; secret: boolean }): EnvDraft {
  const row: EnvRow = { id: draft.next, ...given, known: false, typed: true, removed: false };
  return { ...draft, rows: [...draft.rows, row], next: draft.next + 1 };
}

/** Takes a row that is new out, marks one that the platform has, or takes the mark away. */
export function withoutRow(draft: EnvDraft, id: number): EnvDraft {
  return {
    ...draft,
    rows: draft.rows.flatMap((row) => (row.id !== id ? [row] : row.known ? [{ ...row, removed: !row.removed }] : [])),
  };
}

/** Takes what was pasted over: by name onto rows that are there, else as new rows. */
export function withPasted(draft: EnvDraft, variables: readonly (PastedVariable & { secret: boolean })[]): EnvDraft {
  return variables.reduce((before, { name, value, secret }) => {
    const there = before.rows.find((row) => row.name === name);
    if (there === undefined) return withNew(before, { name, value, secret });
    return withRow(before, there.id, { value, secret: secret || there.secret, typed: true, removed: false });
  }, draft);
}

export type EnvEditSort = 'add' | 'change' | 'remove';

export interface EnvEdit {
  id: number;
  sort: EnvEditSort;
  name: string;
  secret: boolean;
}

function isChanged(row: EnvRow, base: EnvVars): boolean {
  const was = own(base, row.name);
  if (was === undefined) return true;
  if (row.secret !== was.secret) return true;
  return was.secret ? row.typed : row.value !== (was.value ?? '');
}

/** A row that is empty because somebody only just made it. */
const isBlank = (row: EnvRow): boolean => !row.known && row.name === '' && row.value === '';

/** What would be changed, in the order of the rows. */
export function editsOf({ base, rows }: EnvDraft): EnvEdit[] {
  return rows.flatMap((row): EnvEdit[] => {
    const edit = { id: row.id, name: row.name, secret: row.secret };
    if (isBlank(row)) return [];
    if (!row.known) return [{ ...edit, sort: own(base, row.name) === undefined ? 'add' : 'change' }];
    if (row.removed) return own(base, row.name) === undefined ? [] : [{ ...edit, sort: 'remove' }];
    return isChanged(row, base) ? [{ ...edit, sort: own(base, row.name) === undefined ? 'add' : 'change' }] : [];
  });
}

/** What is wrong, by row. */
export function problemsOf({ base, rows }: EnvDraft): Map<number, string> {
  const problems = new Map<number, string>();
  const names = new Set<string>();
  for (const row of rows) {
    if (row.removed || isBlank(row)) continue;
    const was = own(base, row.name);
    const problem =
      nameProblem(row.name) ??
      (names.has(row.name) ? 'This name is there twice.' : undefined) ??
      valueProblem(row.value) ??
      (was?.secret === true && !row.secret && !row.typed
        ? 'What was secret is not told: type the value to make it readable.'
        : undefined);
    names.add(row.name);
    if (problem !== undefined) problems.set(row.id, problem);
  }
  return problems;
}

/** What is sent. Maps without a prototype, because names are free. */
export function changeOf(draft: EnvDraft): Required<EnvChange> {
  const set: Record<string, string> = Object.create(null);
  const secret: Record<string, string> = Object.create(null);
  const unset: string[] = [];
  for (const { id, sort } of editsOf(draft)) {
    const row = draft.rows.find((row) => row.id === id);
    if (row === undefined) continue;
    if (sort === 'remove') unset.push(row.name);
    else if (row.secret) secret[row.name] = row.value;
    else set[row.name] = row.value;
  }
  return { set, secret, unset };
}

/** Names whose variables are not what they were. Another value of a secret cannot be seen. */
export function changedNames(before: EnvVars, after: EnvVars): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().filter((name) => {
    const [was, is] = [own(before, name), own(after, name)];
    return was?.secret !== is?.secret || was?.value !== is?.value;
  });
}

/** The draft on newer variables: what somebody typed stays, all else follows. */
export function rebased(draft: EnvDraft, vars: EnvVars, revision: number): EnvDraft {
  const touched = new Set(editsOf(draft).map(({ id }) => id));
  const fresh = draftOf(vars, revision);
  const kept = draft.rows.filter((row) => touched.has(row.id) || isBlank(row));
  const names = new Set(kept.map(({ name }) => name));
  let next = Math.max(draft.next, 0);
  const followed = fresh.rows.filter((row) => !names.has(row.name)).map((row) => ({ ...row, id: next++ }));
  const stayed = kept
    // What was to be removed and is gone is done.
    .filter((row) => !(row.removed && own(vars, row.name) === undefined))
    .map((row) => ({
      ...row,
      known: own(vars, row.name) !== undefined,
      typed: row.typed || !row.known || row.value !== '',
    }));
  const known = [...followed, ...stayed.filter((row) => row.known)].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { base: vars, revision, rows: [...known, ...stayed.filter((row) => !row.known)], next };
}
