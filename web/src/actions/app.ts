/** What is done to a whole app: stopping, starting, deleting. */
import { useMutation } from '@tanstack/react-query';
import { client, data } from '../model/client';
import type { AppRef } from '../model/objects';
import type { App } from '../model/schema';
import { done, failed } from './notify';

/** Processes with their pods. */
export type Scales = Record<string, number>;

/** Stops an app by scaling it to nothing, and starts it again; `before` is what it goes back to. */
export function useStopApp() {
  const start = useStartApp();
  return useMutation({
    mutationFn: ({ project, app, processes }: AppRef & { processes: readonly string[]; before: Scales }) =>
      data(
        client.PUT('/api/v1/projects/{project}/apps/{app}/scale', {
          params: { path: { project, app } },
          body: { processes: Object.fromEntries(processes.map((name) => [name, 0])) },
        }),
      ),
    onSuccess: (_, { project, app, before }) =>
      done(`${app} is being stopped. Its data and settings stay.`, () =>
        start.mutate({ project, app, scales: before }),
      ),
    onError: failed,
  });
}

export function useStartApp() {
  return useMutation({
    mutationFn: ({ project, app, scales }: AppRef & { scales: Scales }) =>
      data(
        client.PUT('/api/v1/projects/{project}/apps/{app}/scale', {
          params: { path: { project, app } },
          body: { processes: scales },
        }),
      ),
    onSuccess: (_, { app }) => done(`${app} is being started.`),
    onError: failed,
  });
}

/** Without a revision: a name was typed for it, and what changed meanwhile goes as well. */
export function useDeleteApp() {
  return useMutation({
    mutationFn: ({ project, app }: AppRef): Promise<App> =>
      data(
        client.DELETE('/api/v1/projects/{project}/apps/{app}', {
          params: { path: { project, app } },
        }),
      ),
    onSuccess: (_, { app }) => done(`${app} is being deleted.`),
  });
}
