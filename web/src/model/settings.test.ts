import { expect, test } from 'vitest';
import { quantity } from './quantity';
import { changedParts, draftOf, rebased, type SettingsSpec, specOf } from './settings';
import { makePassword, scopeWords } from './user';

const SPEC: SettingsSpec = {
  domain: 'example.org',
  registries: [{ host: 'r.example.org', username: 'u', has_password: true }],
  defaults: { replicas: 2, cpu: 0.5, memory: '256Mi' },
  retention: { builds: 10, releases: 20 },
  session_days: 7,
};

test('a form that nobody touched changes nothing', () => {
  expect(changedParts(SPEC, specOf(draftOf(SPEC)))).toEqual([]);
  expect(changedParts({}, specOf(draftOf({})))).toEqual([]);
});

test('a password is sent when it was typed and otherwise left as it is', () => {
  const draft = draftOf(SPEC);
  expect(specOf(draft).registries).toEqual([{ host: 'r.example.org', username: 'u' }]);
  const typed = { ...draft, registries: draft.registries.map((registry) => ({ ...registry, password: 'p' })) };
  expect(specOf(typed).registries).toEqual([{ host: 'r.example.org', username: 'u', password: 'p' }]);
  expect(changedParts(SPEC, specOf(typed))).toEqual(['registries']);
});

test('what was changed is named', () => {
  expect(changedParts(SPEC, { ...SPEC, domain: 'x.org', session_days: 1 })).toEqual(['domain', 'sessions']);
});

test('what was typed goes on top of what others saved', () => {
  const typed = { ...draftOf(SPEC), domain: 'mine.org' };
  const theirs = { ...SPEC, session_days: 1, retention: { builds: 3, releases: 4 } };
  expect(specOf(rebased(typed, SPEC, theirs))).toMatchObject({
    domain: 'mine.org',
    session_days: 1,
    retention: { builds: 3, releases: 4 },
  });
});

test('amounts are read as objects write them', () => {
  expect(quantity('1Gi')).toBe(1024 ** 3);
  expect(quantity('500M')).toBe(500e6);
  expect(quantity('17')).toBe(17);
  expect(quantity('much')).toBeNull();
  expect(quantity(null)).toBeNull();
});

test('people are told where they may', () => {
  expect(scopeWords('all')).toBe('All projects');
  expect(scopeWords({ only: ['a', 'b'] })).toBe('a, b');
  expect(scopeWords({ only: [] })).toBe('No project');
});

test('a made password is long and never the same', () => {
  expect(makePassword()).toMatch(/^([a-km-np-z2-9]{5}-){3}[a-km-np-z2-9]{5}$/);
  expect(makePassword()).not.toBe(makePassword());
});
