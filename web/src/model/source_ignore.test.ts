import { expect, test } from 'vitest';
import { isIgnored, parseIgnore } from './source_ignore';

const git = (text: string, base = '') => [parseIgnore('.gitignore', text, base)];
const docker = (text: string) => [parseIgnore('.dockerignore', text)];

test('git: a name without a slash matches at any depth, one with a slash from its folder', () => {
  expect(isIgnored(git('*.log'), 'a/b/c.log', false)).toBe(true);
  expect(isIgnored(git('/dist'), 'dist', true)).toBe(true);
  expect(isIgnored(git('/dist'), 'a/dist', true)).toBe(false);
  expect(isIgnored(git('a/b'), 'x/a/b', false)).toBe(false);
  expect(isIgnored(git('**/b'), 'x/a/b', false)).toBe(true);
  expect(isIgnored(git('b/', 'a/'), 'a/x/b', true)).toBe(true);
  expect(isIgnored(git('b/'), 'b', false)).toBe(false);
  expect(isIgnored(git('b', 'a/'), 'b', false)).toBe(false);
});

test('git: the last line that matches decides', () => {
  expect(isIgnored(git('*.env\n!example.env'), 'example.env', false)).toBe(false);
  expect(isIgnored(git('!example.env\n*.env'), 'example.env', false)).toBe(true);
});

test('git: comments, blanks and escapes', () => {
  expect(isIgnored(git('# a\n\n'), '# a', false)).toBe(false);
  expect(isIgnored(git('\\#a'), '#a', false)).toBe(true);
  expect(isIgnored(git('a  '), 'a', false)).toBe(true);
  expect(isIgnored(git('[!a]x'), 'bx', false)).toBe(true);
  expect(isIgnored(git('[!a]x'), 'ax', false)).toBe(false);
  expect(isIgnored(git('a.b'), 'axb', false)).toBe(false);
});

test('docker: patterns are from the top, and one that has no end is text', () => {
  expect(isIgnored(docker('*.log'), 'a/b.log', false)).toBe(false);
  expect(isIgnored(docker('**/*.log'), 'a/b.log', false)).toBe(true);
  expect(isIgnored(docker('./a/'), 'a', true)).toBe(true);
  expect(isIgnored(docker('[a'), '[a', false)).toBe(true);
  expect(isIgnored(docker('[z-a]'), 'b', false)).toBe(false);
});

test('a hostile pattern takes no longer than it is worth', () => {
  const begin = performance.now();
  isIgnored(git(`${'*a'.repeat(12)}b`), 'a'.repeat(60), false);
  expect(performance.now() - begin).toBeLessThan(2000);
});
