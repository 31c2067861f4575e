/** How the platform itself is, and what needs somebody's attention. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { client, data } from './client';
import { count } from './format';
import { useFresh } from './fresh';
import { told } from './node';
import type { App, Build, Node, Pod, Release, System } from './schema';
import { useUsageSample } from './usage';

export const SYSTEM = ['system'] as const;

/** What the stream of changes does not tell of is asked for again when the platform measured itself. */
export function useSystem(enabled: boolean) {
  const cache = useQueryClient();
  useFresh(SYSTEM, 'Node');
  const at = useUsageSample()?.at;
  useEffect(() => {
    if (at !== undefined) void cache.invalidateQueries({ queryKey: SYSTEM });
  }, [at, cache]);
  return useQuery({
    queryKey: SYSTEM,
    queryFn: ({ signal }) => data(client.GET('/api/v1/system', { signal })),
    enabled,
  });
}

export type Wellness = 'well' | 'poor' | 'away';

/** A part of the platform, and how it is. */
export interface Part {
  name: string;
  /** What it is there for. */
  task: string;
  state: Wellness;
  detail: string;
}

interface ControllerState {
  name?: string;
  failing?: number;
  last_error?: string | null;
}

export function parts(system: System): Part[] {
  const controllers = Object.entries(system.controllers).map(([name, state]) => ({
    name,
    ...(state as ControllerState | null),
  }));
  const failing = controllers.filter(({ failing }) => (failing ?? 0) > 0);
  const connected = system.gateways.filter((gateway) => gateway.connected).length;
  return [
    {
      name: 'Engine',
      task: 'Runs the pods',
      state: system.engine.ready ? 'well' : 'away',
      detail: system.engine.ready
        ? [system.engine.name, system.engine.version].filter(Boolean).join(' ')
        : (system.engine.reason ?? `${system.engine.name} does not answer`),
    },
    {
      name: 'Store',
      task: 'Keeps all settings',
      state: system.store.writable ? 'well' : 'poor',
      detail: system.store.writable
        ? `takes writes, revision ${system.store_revision.toLocaleString()}`
        : (system.store.reason ?? 'takes no writes at the moment'),
    },
    {
      name: system.gateways.length > 1 ? 'Gateways' : 'Gateway',
      task: 'Leads requests to pods',
      state: connected === 0 ? 'away' : connected < system.gateways.length ? 'poor' : 'well',
      detail:
        system.gateways.length === 0
          ? 'None is there: no app can be reached from outside'
          : `${connected} of ${system.gateways.length} connected`,
    },
    {
      name: 'Controllers',
      task: 'Make everything as it should be',
      state: failing.length > 0 ? 'poor' : 'well',
      detail:
        failing.length === 0
          ? `${controllers.length} at work`
          : failing.map(({ name, last_error }) => `${name}: ${last_error ?? 'fails at the moment'}`).join('; '),
    },
  ];
}

/** Something that somebody should look at. */
export interface Concern {
  /** Never used twice. */
  key: string;
  urgent: boolean;
  title: string;
  detail: string;
  /** Where to look; absent where it is told on the same page. */
  to: string | undefined;
}

export interface Scene {
  apps: readonly App[];
  pods: readonly Pod[];
  builds: readonly Build[];
  releases: readonly Release[];
  nodes: readonly Node[];
  system: System | undefined;
}

/** A pod that started again so often does not do so by chance. */
const RESTARTS = 5;
/** A disk so full stops the platform soon. */
const FULL = 0.9;

const appPath = (project: string | null | undefined, app: string) =>
  `/projects/${encodeURIComponent(project ?? '')}/apps/${encodeURIComponent(app)}`;

/** What needs attention, what is urgent first. */
export function concerns(scene: Scene): Concern[] {
  const all: Concern[] = [];
  for (const part of scene.system === undefined ? [] : parts(scene.system)) {
    if (part.state === 'well') continue;
    const title = part.state === 'away' ? `${part.name} is away` : `${part.name} has a problem`;
    all.push({ key: `part ${part.name}`, urgent: true, title, detail: part.detail, to: undefined });
  }
  for (const node of scene.nodes) {
    const { name } = node.metadata;
    const status = told(node);
    const to = `/nodes/${encodeURIComponent(name)}`;
    const used = status.used?.disk_bytes ?? 0;
    const disk = status.capacity?.disk_bytes ?? 0;
    if (!status.ready) {
      const detail = status.reason ?? 'Its pods may not run.';
      all.push({ key: `node ${name}`, urgent: true, title: `Node ${name} is not ready`, detail, to });
    } else if (disk > 0 && used / disk >= FULL) {
      const detail = `${Math.round((100 * used) / disk)} % are in use. Delete images or volumes that nobody needs.`;
      all.push({ key: `disk ${name}`, urgent: true, title: `The disk of ${name} is nearly full`, detail, to });
    }
  }
  for (const app of scene.apps) {
    const { name, project } = app.metadata;
    const to = appPath(project, name);
    const of = (object: { metadata: { project?: string | null }; spec: { app: string } }) =>
      object.metadata.project === project && object.spec.app === name;
    const newest = <T extends { spec: { number: number } }>(items: readonly T[]) =>
      items.reduce<T | undefined>((a, b) => (a === undefined || b.spec.number > a.spec.number ? b : a), undefined);
    const release = newest(scene.releases.filter(of));
    const build = newest(scene.builds.filter(of));
    if (app.status.phase === 'failed') {
      const detail = app.status.reason ?? 'It does not serve.';
      all.push({ key: `app ${project}/${name}`, urgent: true, title: `${name} does not work`, detail, to });
    } else if (release?.status.phase === 'failed') {
      const detail = `${release.status.reason ?? 'It did not become ready.'} The release before it goes on serving.`;
      const title = `Release v${release.spec.number} of ${name} failed`;
      all.push({ key: `release ${project}/${name}`, urgent: false, title, detail, to: `${to}/releases` });
    }
    if (build?.status.phase === 'failed') {
      const title = `Build b${build.spec.number} of ${name} failed`;
      const detail = build.status.reason ?? 'Its log tells why.';
      all.push({
        key: `build ${project}/${name}`,
        urgent: false,
        title,
        detail,
        to: `${to}/builds/b${build.spec.number}`,
      });
    }
  }
  for (const { metadata, status } of scene.pods) {
    const restarts = status.restarts ?? 0;
    if (status.phase !== 'failed' && status.phase !== 'unready' && restarts < RESTARTS) continue;
    all.push({
      key: `pod ${metadata.project}/${metadata.name}`,
      urgent: status.phase === 'failed',
      title:
        restarts >= RESTARTS
          ? `Pod ${metadata.name} starts again and again`
          : `Pod ${metadata.name} is ${status.phase}`,
      detail: status.reason ?? (restarts > 0 ? `It started again ${count(restarts, 'time')}.` : 'Its log tells more.'),
      to: `/projects/${encodeURIComponent(metadata.project ?? '')}/pods/${encodeURIComponent(metadata.name)}`,
    });
  }
  return all.sort((a, b) => Number(b.urgent) - Number(a.urgent));
}
