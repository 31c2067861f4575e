import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, data } from '../model/client';
import { REGISTRY } from '../model/registry';
import { done } from './notify';

/** Asks for a collection; that it runs, and what it freed, is told by the stream. */
export function useCollect() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: () => data(client.POST('/api/v1/registry/collect')),
    onSuccess: () => {
      done('The registry looks for what nothing needs. You see here what that freed.');
      void cache.invalidateQueries({ queryKey: REGISTRY });
    },
  });
}
