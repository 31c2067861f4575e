import { useMutation } from '@tanstack/react-query';
import { client, data } from '../model/client';
import { done, failed } from './notify';

export function useCancelBuild() {
  return useMutation({
    mutationFn: (path: { project: string; app: string; build: string }) =>
      data(client.POST('/api/v1/projects/{project}/apps/{app}/builds/{build}/cancel', { params: { path } })),
    onSuccess: (_, { app, build }) => done(`Build ${build} of ${app} is being stopped.`),
    onError: failed,
  });
}
