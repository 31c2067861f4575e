import { describe, expect, it } from 'vitest';
import * as search from './search';

describe('login', () => {
  it('takes paths of the dashboard', () => {
    expect(search.login({ next: '/pods?q=a' })).toEqual({ next: '/pods?q=a' });
  });

  it.each(['//example.org', '/\\example.org', 'https://example.org', 'javascript:alert(1)', '', 7, ['/a'], null])(
    'says of %j that there is none, so that the router does not take it unread',
    (next) => {
      const read = search.login({ next });
      expect(Object.hasOwn(read, 'next')).toBe(true);
      expect(read.next).toBeUndefined();
    },
  );
});

describe('the words of a list', () => {
  it('are text, whatever the address holds', () => {
    expect(search.pods({ q: 7, project: { a: 1 }, phase: ['x'], other: 'y' })).toEqual({ q: '7' });
    expect(Object.hasOwn(search.pods({}), 'project')).toBe(true);
  });
});
