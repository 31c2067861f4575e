/** Making, restarting and deleting pods. What became of it is told by the stream. */
import { useMutation } from '@tanstack/react-query';
import { client, data, ifMatch } from '../model/client';
import { count } from '../model/format';
import { podRef } from '../model/pod';
import type { InputMetadata, Pod, PodSpec } from '../model/schema';
import { done, failed } from './notify';

/** Requests to the platform at the same time, where many pods were chosen. */
const AT_ONCE = 4;

export interface NewPod {
  project: string;
  name: string;
  spec: PodSpec;
}

export function useCreatePod() {
  return useMutation({
    mutationFn: ({ project, name, spec }: NewPod) =>
      data(
        client.POST('/api/v1/projects/{project}/pods', {
          params: { path: { project } },
          body: { kind: 'Pod', metadata: named(name), spec },
        }),
      ),
    onSuccess: (_, { name }) => done(`Pod ${name} is being made.`),
  });
}

/** Of what a caller may send in the metadata only the name is needed; the generated type asks for all of it. */
function named(name: string): InputMetadata {
  return { name } as InputMetadata;
}

function restart(pod: Pod) {
  return data(client.POST('/api/v1/projects/{project}/pods/{pod}/restart', { params: { path: podRef(pod) } }));
}

function remove(pod: Pod) {
  // The pods of an app are not stored: they have no revision to hold on to.
  const headers = pod.metadata.revision ? { headers: ifMatch(pod) } : {};
  return data(client.DELETE('/api/v1/projects/{project}/pods/{pod}', { params: { path: podRef(pod) }, ...headers }));
}

/** Does something to each pod, a few at a time; gives what failed. */
async function each(pods: readonly Pod[], what: (pod: Pod) => Promise<unknown>): Promise<unknown[]> {
  const left = [...pods];
  const errors: unknown[] = [];
  const work = async () => {
    for (let pod = left.shift(); pod !== undefined; pod = left.shift()) {
      try {
        await what(pod);
      } catch (error) {
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return errors;
}

function tell(pods: readonly Pod[], errors: readonly unknown[], one: (name: string) => string, many: string): void {
  const good = pods.length - errors.length;
  if (pods.length === 1 && good === 1) done(one(pods[0]?.metadata.name ?? ''));
  else if (good > 0) done(`${count(good, 'pod')} ${many}.`);
  if (errors.length > 0) failed(errors[0]);
}

export function useRestartPods() {
  return useMutation({
    mutationFn: (pods: readonly Pod[]) => each(pods, restart),
    onSuccess: (errors, pods) => tell(pods, errors, (name) => `Pod ${name} is being restarted.`, 'are being restarted'),
  });
}

export function useDeletePods() {
  return useMutation({
    mutationFn: (pods: readonly Pod[]) => each(pods, remove),
    onSuccess: (errors, pods) => tell(pods, errors, (name) => `Pod ${name} is being deleted.`, 'are being deleted'),
  });
}
