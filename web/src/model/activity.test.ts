import { expect, test } from 'vitest';
import { type Activity, activityCsv, happened, isPlatform, passes, withNews } from './activity';

function event(uid: string, created: string, more: Partial<Activity['spec']> = {}): Activity {
  return {
    kind: 'Event',
    metadata: { name: uid, uid, created, project: 'default', revision: 1 },
    spec: { actor: 'admin', action: 'app.scaled', kind: 'App', object: 'hello', message: 'scaled to 3', ...more },
    status: {},
  };
}

test('news come on top, once, and never from the past', () => {
  const pages = [{ items: [event('b', '2026-01-02T00:00:00Z'), event('a', '2026-01-01T00:00:00Z')], next: 'x' }];
  const old = event('z', '2025-01-01T00:00:00Z');
  const known = event('b', '2026-01-02T00:00:00Z');
  expect(withNews(pages, [old, known])).toBe(pages);
  const after = withNews(pages, [event('c', '2026-01-03T00:00:00Z'), event('d', '2026-01-04T00:00:00Z'), known]);
  expect(after[0]?.items.map(({ metadata }) => metadata.uid)).toEqual(['d', 'c', 'b', 'a']);
  expect(after[0]?.next).toBe('x');
});

test('the first thing ever is news too', () => {
  expect(withNews([{ items: [] }], [event('a', '2026-01-01T00:00:00Z')])[0]?.items).toHaveLength(1);
});

test('a filter lets through what it names', () => {
  const one = event('a', '2026-01-01T00:00:00Z');
  expect(passes(one, {})).toBe(true);
  expect(passes(one, { actor: 'admin', kind: 'App', project: 'default', object: 'hello' })).toBe(true);
  expect(passes(one, { actor: 'vera' })).toBe(false);
  expect(passes(one, { project: 'shop' })).toBe(false);
});

test('a file for spreadsheets has no formulas and no broken rows', () => {
  const csv = activityCsv([event('a', '2026-01-01T00:00:00Z', { message: '=cmd|calc', object: 'a,"b"\nc' })]);
  expect(csv.split('\r\n')).toEqual([
    'time,actor,action,project,kind,object,message',
    `2026-01-01T00:00:00Z,admin,app.scaled,default,App,"a,""b""\nc",'=cmd|calc`,
  ]);
});

test('it is told in words', () => {
  expect(happened(event('a', ''))).toBe('scaled to 3');
  expect(happened(event('a', '', { action: 'session.created', message: 'for admin' }))).toBe(
    'session created for admin',
  );
  expect(isPlatform('release controller')).toBe(true);
  expect(isPlatform('vera')).toBe(false);
});
