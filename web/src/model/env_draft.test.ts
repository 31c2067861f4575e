import { expect, test } from 'vitest';
import type { EnvVars } from './env';
import {
  changedNames,
  changeOf,
  draftOf,
  type EnvDraft,
  editsOf,
  problemsOf,
  rebased,
  withNew,
  withoutRow,
  withPasted,
  withRow,
} from './env_draft';

const vars: EnvVars = { A: { value: '1', secret: false }, B: { value: 'x', secret: false }, S: { secret: true } };

const id = (draft: EnvDraft, name: string): number => draft.rows.find((row) => row.name === name)?.id ?? -1;

test('a draft that nobody touched changes nothing', () => {
  const draft = draftOf(vars, 3);
  expect(editsOf(draft)).toEqual([]);
  expect({ ...changeOf(draft).set }).toEqual({});
});

test('only what was touched is sent, secrets only when typed', () => {
  let draft = draftOf(vars, 3);
  draft = withRow(draft, id(draft, 'A'), { value: '2' });
  draft = withoutRow(draft, id(draft, 'B'));
  draft = withNew(draft, { name: 'N', value: 'n', secret: true });
  const change = changeOf(draft);
  expect({ ...change.set }).toEqual({ A: '2' });
  expect({ ...change.secret }).toEqual({ N: 'n' });
  expect(change.unset).toEqual(['B']);
  expect(editsOf(draft).map(({ sort, name }) => `${sort} ${name}`)).toEqual(['change A', 'remove B', 'add N']);
});

test('typed back is not a change, and a mark to remove can be taken away', () => {
  let draft = draftOf(vars, 3);
  draft = withRow(draft, id(draft, 'A'), { value: '2' });
  draft = withRow(draft, id(draft, 'A'), { value: '1' });
  draft = withoutRow(withoutRow(draft, id(draft, 'B')), id(draft, 'B'));
  expect(editsOf(draft)).toEqual([]);
});

test('a secret does not become readable without its value', () => {
  const draft = draftOf(vars, 3);
  const open = withRow(draft, id(draft, 'S'), { secret: false });
  expect(problemsOf(open).size).toBe(1);
  expect(problemsOf(withRow(open, id(draft, 'S'), { value: 'v', typed: true })).size).toBe(0);
});

test('a name is there once', () => {
  const draft = withNew(draftOf(vars, 3), { name: 'A', value: '', secret: false });
  expect([...problemsOf(draft).values()]).toEqual(['This name is there twice.']);
});

test('what was pasted goes onto what is there, and a secret stays one', () => {
  const draft = withPasted(draftOf(vars, 3), [
    { name: 'A', value: '7', line: 1, secret: false },
    { name: 'S', value: 'new', line: 2, secret: false },
    { name: '__proto__', value: 'p', line: 3, secret: false },
  ]);
  const change = changeOf(draft);
  expect(Object.entries(change.set)).toEqual([
    ['A', '7'],
    ['__proto__', 'p'],
  ]);
  expect({ ...change.secret }).toEqual({ S: 'new' });
  expect(JSON.stringify(change.set)).toBe('{"A":"7","__proto__":"p"}');
});

test('newer variables are followed where nobody typed, and what was typed stays', () => {
  let draft = draftOf(vars, 3);
  draft = withRow(draft, id(draft, 'A'), { value: 'mine' });
  draft = withNew(draft, { name: 'N', value: 'n', secret: false });
  const newer: EnvVars = {
    A: { value: 'theirs', secret: false },
    C: { value: 'c', secret: false },
    S: { secret: true },
  };
  expect(changedNames(draft.base, newer)).toEqual(['A', 'B', 'C']);
  const after = rebased(draft, newer, 4);
  expect(after.rows.map(({ name, value }) => [name, value])).toEqual([
    ['A', 'mine'],
    ['C', 'c'],
    ['S', ''],
    ['N', 'n'],
  ]);
  expect({ ...changeOf(after).set }).toEqual({ A: 'mine', N: 'n' });
  expect(after.revision).toBe(4);
  expect(new Set(after.rows.map((row) => row.id)).size).toBe(4);
});

test('what somebody else removed, and I changed, is added again; what both removed is done', () => {
  let draft = draftOf(vars, 3);
  draft = withRow(draft, id(draft, 'A'), { value: 'mine' });
  draft = withoutRow(draft, id(draft, 'B'));
  const after = rebased(draft, { S: { secret: true } }, 4);
  expect(editsOf(after).map(({ sort, name }) => `${sort} ${name}`)).toEqual(['add A']);
  expect(changeOf(after).unset).toEqual([]);
});
