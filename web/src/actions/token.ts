import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, data } from '../model/client';
import type { NewToken } from '../model/schema';
import { TOKENS } from '../model/token';
import { done } from './notify';

export function useCreateToken() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (token: NewToken) => data(client.POST('/api/v1/tokens', { body: token })),
    onSuccess: () => void cache.invalidateQueries({ queryKey: TOKENS }),
    // The secret is shown once and is not kept in memory after the page let go of it.
    gcTime: 0,
  });
}

export function useRevokeToken() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (token: string) => data(client.DELETE('/api/v1/tokens/{token}', { params: { path: { token } } })),
    onSuccess: (_, token) => {
      done(`Token ${token} opens nothing any more.`);
      void cache.invalidateQueries({ queryKey: TOKENS });
    },
  });
}
