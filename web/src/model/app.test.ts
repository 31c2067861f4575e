import { expect, test } from 'vitest';
import type { Activity } from './activity';
import { appPath, isOf, isStopped, startScales, wishes } from './app';
import type { App, Release } from './schema';

const app = (scale?: Record<string, number>) => ({ spec: scale === undefined ? {} : { scale } }) as unknown as App;
const release = (replicas: Record<string, number>) =>
  ({
    spec: {
      config: { processes: Object.fromEntries(Object.entries(replicas).map(([name, n]) => [name, { replicas: n }])) },
    },
  }) as unknown as Release;

test('names do not break out of addresses', () => {
  expect(appPath({ project: 'a/b', app: '../x?y' })).toBe('/projects/a%2Fb/apps/..%2Fx%3Fy');
});

test('an app is stopped when all of it was scaled to nothing', () => {
  expect(isStopped(app(), release({ web: 2 }))).toBe(false);
  expect(isStopped(app({ web: 0 }), release({ web: 2, worker: 1 }))).toBe(false);
  expect(isStopped(app({ web: 0, worker: 0 }), release({ web: 2, worker: 1 }))).toBe(true);
  expect(isStopped(app({ web: 0 }), undefined)).toBe(false);
  expect(wishes(app({ web: 3, gone: 9 }), release({ web: 2, worker: 1 }))).toEqual({ web: 3, worker: 1 });
  expect(startScales(release({ web: 2, worker: 0 }))).toEqual({ web: 2, worker: 1 });
});

test('what happened is told where it belongs', () => {
  const event = (kind: string, object: string, project = 'default') =>
    ({ metadata: { project }, spec: { kind, object } }) as unknown as Activity;
  const ref = { project: 'default', app: 'shop' };
  const others = ['shop', 'shop-api', 'worker'];
  expect(isOf(ref, event('App', 'shop'), others)).toBe(true);
  expect(isOf(ref, event('Release', 'shop/v3'), others)).toBe(true);
  expect(isOf(ref, event('Pod', 'shop-web-v3-x'), others)).toBe(true);
  expect(isOf(ref, event('Pod', 'shop-api-web-v3-x'), others)).toBe(false);
  expect(isOf(ref, event('App', 'shop', 'other'), others)).toBe(false);
  expect(isOf(ref, event('Release', 'shopper/v3'), others)).toBe(false);
  expect(isOf(ref, event('Volume', 'shop'), others)).toBe(false);
});
