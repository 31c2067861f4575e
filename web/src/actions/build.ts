/** Building and deploying. */
import { useMutation } from '@tanstack/react-query';
import { client, data } from '../model/client';
import { ApiProblem } from '../model/problem';
import type { RunChange, RunConfig } from '../model/schema';

interface Target {
  project: string;
  app: string;
  /** Variables that nobody is to read. */
  secrets: Record<string, string>;
}

/** Makes the app, unless it is there, with its secret variables: they have to be there before the first release is. */
async function prepare({ project, app, secrets }: Target): Promise<void> {
  try {
    const metadata = { name: app, created: null, deleting: null, project: null, revision: null, uid: null };
    await data(client.POST('/api/v1/projects/{project}/apps', { params: { path: { project } }, body: { metadata } }));
  } catch (error) {
    if (!(error instanceof ApiProblem && error.code === 'already_exists')) throw error;
  }
  if (Object.keys(secrets).length === 0) return;
  await data(
    client.PATCH('/api/v1/projects/{project}/apps/{app}/env', {
      params: { path: { project, app } },
      body: { secret: secrets },
    }),
  );
}

/** Builds a source, and deploys what comes of it. */
export function useDeploySource() {
  return useMutation({
    mutationFn: async ({ source, config, ...target }: Target & { source: string; config: RunChange }) => {
      const { project, app } = target;
      if (Object.keys(target.secrets).length > 0) await prepare(target);
      return data(
        client.POST('/api/v1/projects/{project}/apps/{app}/builds', {
          params: { path: { project, app }, query: { create: true } },
          body: { source, config },
          headers: { 'Content-Type': 'application/json' },
        }),
      );
    },
    gcTime: 0,
  });
}

/** Deploys an image as it is. */
export function useDeployImage() {
  return useMutation({
    mutationFn: async ({ image, config, ...target }: Target & { image: string; config: RunConfig }) => {
      await prepare(target);
      const path = { project: target.project, app: target.app };
      return data(
        client.POST('/api/v1/projects/{project}/apps/{app}/releases', { params: { path }, body: { image, config } }),
      );
    },
    gcTime: 0,
  });
}
