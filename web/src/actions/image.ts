import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, data } from '../model/client';
import { IMAGES } from '../model/image';
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
    mutationFn: ({ repository, reference, force }: ImageRemoval) =>
      data(
        client.DELETE('/api/v1/image', {
          params: { query: { repository, reference, ...(force ? { force } : {}) } },
        }),
      ),
    onSuccess: (_, { reference }) => {
      done(reference.startsWith('sha256:') ? 'The image is deleted.' : `The tag ${reference} is deleted.`);
      void cache.invalidateQueries({ queryKey: IMAGES });
    },
  });
}
