import { useMutation } from '@tanstack/react-query';
import { client, data, ifMatch } from '../model/client';
import { count } from '../model/format';
import type { AppRef } from '../model/objects';
import type { App } from '../model/schema';
import { done, failed } from './notify';

interface Scaling extends AppRef {
  process: string;
  replicas: number;
  /** What it was, for the way back. */
  before: number;
  seen: App;
}

function scale({ project, app, process, replicas }: Omit<Scaling, 'seen' | 'before'>, seen?: App) {
  return data(
    client.PUT('/api/v1/projects/{project}/apps/{app}/scale', {
      params: { path: { project, app } },
      ...(seen === undefined ? {} : { headers: ifMatch(seen) }),
      body: { processes: { [process]: replicas } },
    }),
  );
}

/** How many pods a process should have. */
export function useScale() {
  const back = useMutation({
    mutationFn: (scaling: Omit<Scaling, 'seen' | 'before'>) => scale(scaling),
    onSuccess: (_, { process, replicas }) => done(`${process} goes back to ${count(replicas, 'pod')}.`),
    onError: failed,
  });
  return useMutation({
    mutationFn: (scaling: Scaling) => scale(scaling, scaling.seen),
    onSuccess: (_, { project, app, process, replicas, before }) =>
      done(`${process} gets ${count(replicas, 'pod')}.`, () =>
        back.mutate({ project, app, process, replicas: before }),
      ),
    onError: failed,
  });
}
