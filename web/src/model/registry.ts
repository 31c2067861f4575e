/** The registry's space, and the collection of what nothing needs. */
import { useQuery } from '@tanstack/react-query';
import { send } from './client';
import { useFresh } from './fresh';
import { problemOf } from './problem';

// Written by hand from the agreed contract until the API's document has these.
export interface RegistryState {
  bytes: number;
  blobs: number;
  repositories: number;
  reclaimable_bytes?: number | null;
  disk?: { total: number; free: number } | null;
  collection: {
    phase: 'idle' | 'running' | 'failed';
    started?: string | null;
    finished?: string | null;
    freed_bytes: number;
    reason?: string | null;
  };
}

export const REGISTRY = ['registry'] as const;

export function useRegistry(enabled: boolean) {
  useFresh(REGISTRY, 'Registry', 'Image');
  return useQuery({
    queryKey: REGISTRY,
    enabled,
    queryFn: async (): Promise<RegistryState> => {
      const response = await send(new Request(new URL('/api/v1/registry', window.location.origin)));
      const body: unknown = await response.json().catch(() => null);
      if (!response.ok) throw problemOf(response.status, body);
      return body as RegistryState;
    },
  });
}
