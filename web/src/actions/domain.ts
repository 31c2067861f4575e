import { useMutation } from '@tanstack/react-query';
import { client, data, ifMatch } from '../model/client';
import type { AppRef } from '../model/objects';
import type { App } from '../model/schema';
import { done, failed } from './notify';

interface DomainOf extends AppRef {
  host: string;
}

const add = ({ project, app, host }: DomainOf, seen?: App) =>
  data(
    client.POST('/api/v1/projects/{project}/apps/{app}/domains', {
      params: { path: { project, app } },
      ...(seen === undefined ? {} : { headers: ifMatch(seen) }),
      body: { host },
    }),
  );

export function useAddDomain() {
  return useMutation({
    mutationFn: ({ seen, ...domain }: DomainOf & { seen: App }) => add(domain, seen),
    onSuccess: (_, { host, app }) => done(`${app} answers to ${host} now.`),
  });
}

export function useRemoveDomain() {
  const back = useMutation({
    mutationFn: (domain: DomainOf) => add(domain),
    onSuccess: (_, { host }) => done(`${host} is back.`),
    onError: failed,
  });
  return useMutation({
    mutationFn: ({ project, app, host }: DomainOf) =>
      data(
        client.DELETE('/api/v1/projects/{project}/apps/{app}/domains/{host}', {
          params: { path: { project, app, host } },
        }),
      ),
    onSuccess: (_, domain) => done(`${domain.host} is removed from ${domain.app}.`, () => back.mutate(domain)),
    onError: failed,
  });
}
