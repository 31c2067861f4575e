/** Machines that run pods: how they are, what they have, and how far a drain is. */
import { useQuery } from '@tanstack/react-query';
import { useCallback } from 'react';
import { client, data } from './client';
import { useCollection } from './collections';
import { useFresh } from './fresh';
import type { Collection } from './objects';
import type { Node, NodeDrain, NodeResources, NodeStatus, Pod } from './schema';
import type { NodeSample } from './usage';

/** What is told of a node: whatever an engine does not know is absent, whatever the document says of defaults. */
export function told(node: Node): Partial<NodeStatus> {
  return node.status;
}

/** Whether it can run pods now. */
export const nodeHealth = (node: Node): 'ready' | 'not ready' => (told(node).ready ? 'ready' : 'not ready');

export type NodeOpening = 'open' | 'cordoned' | 'draining';

/** Whether it takes new pods. */
export function nodeOpening(node: Node): NodeOpening {
  const spec: Partial<Node['spec']> = node.spec;
  if (spec.drain != null) return told(node).drain?.phase === 'drained' ? 'cordoned' : 'draining';
  return spec.scheduling === 'cordoned' ? 'cordoned' : 'open';
}

export type ResourceName = 'cpu' | 'memory' | 'disk' | 'pods';

export interface Share {
  name: ResourceName;
  label: string;
  used: number | null;
  /** What there is; null where there is no bound. */
  capacity: number | null;
  /** What pods may have of it, where the engine keeps something back. */
  allocatable: number | null;
}

/** How much of each resource there is and is in use. */
export function shares(node: Node, used: NodeResources | null | undefined): Share[] {
  const status = told(node);
  const { capacity, allocatable } = status;
  const has = (of: (resources: NodeResources) => number | null | undefined) => ({
    used: used == null ? null : (of(used) ?? null),
    capacity: capacity == null ? null : of(capacity) || null,
    allocatable: allocatable == null ? null : (of(allocatable) ?? null),
  });
  return [
    { name: 'cpu', label: 'Processors', ...has((r) => r.cpu) },
    { name: 'memory', label: 'Memory', ...has((r) => r.memory_bytes) },
    { name: 'disk', label: 'Disk', ...has((r) => r.disk_bytes) },
    { name: 'pods', label: 'Pods', ...has((r) => r.pods), used: used?.pods ?? status.pods ?? 0 },
  ];
}

/** In plain words: where a drain stands. */
export function drainWords(drain: NodeDrain | null | undefined): string {
  switch (drain?.phase) {
    case undefined:
      return 'The drain begins.';
    case 'cordoning':
      return 'The node is being closed to new pods.';
    case 'moving':
      return 'Pods move to other nodes, one workload after another. Each one runs elsewhere before it stops here.';
    case 'blocked':
      return 'The drain waits: some pods cannot move. It goes on by itself once they can.';
    case 'drained':
      return 'No pod of Coracle runs here any more. The machine can be switched off or repaired.';
  }
}

/** What is used of each node now, by its name. The stream leaves this out, because it changes all the time. */
export function useNodesUsed(enabled: boolean): ReadonlyMap<string, NodeResources> | undefined {
  useFresh(['nodes', 'used'], 'Node', 'Pod');
  return useQuery({
    queryKey: ['nodes', 'used'],
    queryFn: async ({ signal }) => {
      const list = await data(client.GET('/api/v1/nodes', { params: { query: { limit: 500 } }, signal }));
      return list.items;
    },
    select: usedByName,
    structuralSharing: false,
    enabled,
  }).data;
}

function usedByName(nodes: { metadata: { name: string }; status: { used: NodeResources | null } }[]) {
  return new Map(nodes.flatMap(({ metadata, status }) => (status.used == null ? [] : [[metadata.name, status.used]])));
}

/** The pods on a node, by name. */
export function useNodePods(node: string): Pod[] | undefined {
  return useCollection(
    'Pod',
    useCallback(
      (all: Collection<Pod>) =>
        [...all.values()]
          .filter((pod) => pod.status.node === node)
          .sort((a, b) => a.metadata.name.localeCompare(b.metadata.name)),
      [node],
    ),
  );
}

/** What is used now: what the newest sample says, and otherwise what was asked for. */
export function usedNow(
  asked: NodeResources | null | undefined,
  sample: NodeSample | undefined,
): NodeResources | undefined {
  if (sample === undefined) return asked ?? undefined;
  const disk = sample.disk ?? asked?.disk_bytes;
  return {
    cpu: sample.cpu ?? asked?.cpu ?? 0,
    memory_bytes: sample.memory ?? asked?.memory_bytes ?? 0,
    disk_bytes: disk ?? null,
    pods: sample.pods ?? asked?.pods ?? null,
  };
}

/** Does a pod take room? One that ended is only still told of. */
export const isThere = (pod: Pod): boolean => pod.status.phase !== 'exited' && pod.status.phase !== 'failed';
