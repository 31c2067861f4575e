import { useMutation, useQueryClient } from '@tanstack/react-query';
import { send } from '../model/client';
import { IMAGES } from '../model/image';
import { problemOf } from '../model/problem';
import { done } from './notify';

export interface ImageRemoval {
  repository: string;
  /** A tag, or a digest. */
  reference: string;
  /** Also where it could be rolled back to. */
  force: boolean;
}

export function useDeleteImage() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async ({ repository, reference, force }: ImageRemoval) => {
      const query = new URLSearchParams({ repository, reference, ...(force ? { force: 'true' } : {}) });
      const response = await send(
        new Request(new URL(`/api/v1/image?${query}`, window.location.origin), { method: 'DELETE' }),
      );
      if (!response.ok) throw problemOf(response.status, await response.json().catch(() => null));
    },
    onSuccess: (_, { reference }) => {
      done(reference.startsWith('sha256:') ? 'The image is deleted.' : `The tag ${reference} is deleted.`);
      void cache.invalidateQueries({ queryKey: IMAGES });
    },
  });
}
