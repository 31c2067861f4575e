/** The registry's space, and the collection of what nothing needs. */
import { useQuery } from '@tanstack/react-query';
import { client, data } from './client';
import { useFresh } from './fresh';

export const REGISTRY = ['registry'] as const;

export function useRegistry(enabled: boolean) {
  useFresh(REGISTRY, 'Registry', 'Image');
  return useQuery({
    queryKey: REGISTRY,
    enabled,
    queryFn: () => data(client.GET('/api/v1/registry')),
  });
}
