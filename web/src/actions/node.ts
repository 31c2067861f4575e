/** Closing, opening and emptying a node. What became of it is told by the stream. */
import { useMutation } from '@tanstack/react-query';
import { client, data } from '../model/client';
import type { DrainMode } from '../model/schema';
import { done, failed } from './notify';

const path = (node: string) => ({ params: { path: { node } } });

export function useCordon() {
  const uncordon = useUncordon();
  return useMutation({
    mutationFn: (node: string) => data(client.POST('/api/v1/nodes/{node}/cordon', path(node))),
    onSuccess: (_, node) => done(`${node} takes no new pods.`, () => uncordon.mutate(node)),
    onError: failed,
  });
}

export function useUncordon() {
  return useMutation({
    mutationFn: (node: string) => data(client.POST('/api/v1/nodes/{node}/uncordon', path(node))),
    onSuccess: (_, node) => done(`${node} takes new pods again.`),
    onError: failed,
  });
}

export function useDrain() {
  return useMutation({
    mutationFn: ({ node, mode }: { node: string; mode: DrainMode }) =>
      data(client.POST('/api/v1/nodes/{node}/drain', { ...path(node), body: { mode } })),
  });
}

export function useEndDrain() {
  return useMutation({
    mutationFn: (node: string) => data(client.DELETE('/api/v1/nodes/{node}/drain', path(node))),
    onSuccess: (_, node) => done(`The drain of ${node} has ended. It stays closed to new pods until you open it.`),
    onError: failed,
  });
}
