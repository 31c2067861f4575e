import { useMutation, useQueryClient } from '@tanstack/react-query';
import { send } from '../model/client';
import { problemOf } from '../model/problem';
import { REGISTRY } from '../model/registry';
import { done } from './notify';

/** Asks for a collection; that it runs, and what it freed, is told by the stream. */
export function useCollect() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async () => {
      const response = await send(
        new Request(new URL('/api/v1/registry/collect', window.location.origin), { method: 'POST' }),
      );
      if (!response.ok) throw problemOf(response.status, await response.json().catch(() => null));
    },
    onSuccess: () => {
      done('The registry looks for what nothing needs. You see here what that freed.');
      void cache.invalidateQueries({ queryKey: REGISTRY });
    },
  });
}
