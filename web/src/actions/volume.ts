import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, data } from '../model/client';
import { VOLUMES } from '../model/volume';
import { done } from './notify';

export function useDeleteVolume() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: ({ project, volume }: { project: string; volume: string }) =>
      data(client.DELETE('/api/v1/projects/{project}/volumes/{volume}', { params: { path: { project, volume } } })),
    onSuccess: (_, { volume }) => {
      done(`Volume ${volume} and its data are deleted.`);
      void cache.invalidateQueries({ queryKey: VOLUMES });
    },
  });
}
