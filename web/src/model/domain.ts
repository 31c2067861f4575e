/** Host names of apps. */
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';
import { client, data } from './client';
import type { AppRef } from './objects';
import type { AppDomainList } from './schema';

export type AppDomain = AppDomainList['items'][number];

export const domainsKey = ({ project, app }: AppRef) => ['domains', project, app] as const;

/** An app's host names, its own first. `told` is what the app itself says of them: they are asked for again with it. */
export function useDomains(ref: AppRef, told: readonly string[]) {
  const { project, app } = ref;
  const query = useQuery({
    queryKey: domainsKey(ref),
    queryFn: ({ signal }) =>
      data(client.GET('/api/v1/projects/{project}/apps/{app}/domains', { params: { path: { project, app } }, signal })),
  });
  const { refetch } = query;
  const names = told.join(' ');
  const last = useRef(names);
  useEffect(() => {
    if (last.current === names) return;
    last.current = names;
    void refetch();
  }, [names, refetch]);
  return query;
}

export type HostRead = { host: string } | { problem: string };

/** A host name as people type it: with `https://`, capitals, a port, letters beyond a to z. */
export function readHost(typed: string): HostRead {
  let text = typed.trim().toLowerCase();
  if (text === '') return { problem: 'Type a host name, such as shop.example.com.' };
  text = text.replace(/^[a-z][a-z0-9+.-]*:\/\//, '');
  text = text
    .replace(/[/?#].*$/s, '')
    .replace(/:\d*$/, '')
    .replace(/\.$/, '');
  if (text.length > 1000) return { problem: 'A host name has at most 253 characters.' };
  if (text.startsWith('*.'))
    return { problem: 'One name for all (“*.”) is not possible here: add each name on its own.' };
  if (/^[\d.]+$/.test(text) || text.includes('[') || text.includes(':')) {
    return { problem: 'This is an address. A host name is made of words, such as shop.example.com.' };
  }
  if (/[^\x21-\x7e]/.test(text) && !/[\s\p{C}]/u.test(text)) text = ascii(text) ?? text;
  if (text.length > 253) return { problem: 'A host name has at most 253 characters.' };
  const labels = text.split('.');
  if (labels.length < 2) return { problem: 'A host name has at least one dot, such as shop.example.com.' };
  for (const label of labels) {
    if (label === '') return { problem: 'Two dots stand side by side, or one at the front.' };
    if (label.length > 63) return { problem: 'Each part between dots has at most 63 characters.' };
    if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(label)) {
      return {
        problem:
          'Each part between dots is made of letters, digits and hyphens, and does not begin or end with a hyphen.',
      };
    }
  }
  return { host: text };
}

/** The form of a name beyond a to z that the Internet uses. */
function ascii(text: string): string | undefined {
  try {
    return new URL(`http://${text}`).hostname;
  } catch {
    return undefined;
  }
}

export interface DnsRecord {
  type: 'A' | 'CNAME';
  name: string;
  /** What it leads to; undefined where only whoever runs the platform can say. */
  value: string | undefined;
}

/** Names that only this machine knows. */
const isLocal = (host: string): boolean => /(?:^|\.)(?:localhost|local|internal|test|example|invalid)$/.test(host);

/**
 * What to enter where the domain was bought. A name right below a domain (`example.com`) takes an address; others can
 * lead to the app's own name, where that is known outside.
 */
export function dnsRecord(host: string, own: string | undefined): DnsRecord | undefined {
  if (isLocal(host)) return undefined;
  const apex = host.split('.').length === 2;
  if (apex || own === undefined || isLocal(own)) return { type: 'A', name: host, value: undefined };
  return { type: 'CNAME', name: host, value: own };
}
