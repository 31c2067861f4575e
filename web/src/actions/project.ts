import { useMutation } from '@tanstack/react-query';
import { client, data, ifMatch } from '../model/client';
import type { Project } from '../model/schema';
import { done } from './notify';

const named = (name: string) => ({ name, created: null, deleting: null, project: null, revision: null, uid: null });

export function useCreateProject() {
  return useMutation({
    mutationFn: ({ name, description }: { name: string; description: string }) =>
      data(client.POST('/api/v1/projects', { body: { metadata: named(name), spec: { description } } })),
    onSuccess: (_, { name }) => done(`Project ${name} is there.`),
  });
}

export function useChangeProject() {
  return useMutation({
    mutationFn: ({ base, description }: { base: Project; description: string }) =>
      data(
        client.PUT('/api/v1/projects/{project}', {
          params: { path: { project: base.metadata.name } },
          headers: ifMatch(base),
          body: { metadata: named(base.metadata.name), spec: { description } },
        }),
      ),
    onSuccess: (_, { base }) => done(`Project ${base.metadata.name} is changed.`),
  });
}

export function useDeleteProject() {
  return useMutation({
    mutationFn: (project: string) =>
      data(client.DELETE('/api/v1/projects/{project}', { params: { path: { project } } })),
    onSuccess: (_, project) => done(`Project ${project} is deleted.`),
  });
}
