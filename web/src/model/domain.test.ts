import { expect, test } from 'vitest';
import { dnsRecord, readHost } from './domain';

test('a host name is read as people type it', () => {
  for (const [typed, host] of [
    ['Shop.Example.com', 'shop.example.com'],
    [' https://shop.example.com/path?x#y ', 'shop.example.com'],
    ['shop.example.com:8080', 'shop.example.com'],
    ['shop.example.com.', 'shop.example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
  ] as const) {
    expect(readHost(typed)).toEqual({ host });
  }
});

test('what is no host name says why', () => {
  for (const typed of [
    '',
    'shop',
    '10.0.0.1',
    '[::1]',
    '*.example.com',
    '-a.example.com',
    'a..example.com',
    `${'a'.repeat(64)}.example.com`,
    `${'a.'.repeat(200)}com`,
    'a_b.example.com',
    'a b.example.com',
    '<script>.example.com',
    'javascript:alert(1)',
    'a\0.example.com',
    'x'.repeat(100_000),
  ]) {
    expect(readHost(typed), typed.slice(0, 40)).toHaveProperty('problem');
  }
});

test('what to enter at the domain’s registrar', () => {
  expect(dnsRecord('shop.example.com', 'hello.apps.cloud.com')).toEqual({
    type: 'CNAME',
    name: 'shop.example.com',
    value: 'hello.apps.cloud.com',
  });
  expect(dnsRecord('shop.com', 'hello.apps.cloud.com')).toEqual({ type: 'A', name: 'shop.com', value: undefined });
  expect(dnsRecord('www.shop.com', 'hello.localhost')?.type).toBe('A');
  expect(dnsRecord('shop.localhost', 'hello.localhost')).toBeUndefined();
});
