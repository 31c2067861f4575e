/** What the whole platform goes by. */
import { useQuery } from '@tanstack/react-query';
import { send } from './client';
import { useFresh } from './fresh';
import { problemOf } from './problem';
import type { Metadata } from './schema';

// Written by hand from the agreed contract until the API's document has these.
export interface RegistryAccess {
  host: string;
  username: string;
  /** Only sent, never told. */
  password?: string;
  has_password?: boolean;
}

export interface SettingsSpec {
  domain?: string | null;
  registries?: RegistryAccess[];
  defaults?: { replicas?: number | null; cpu?: number | string | null; memory?: string | null } | null;
  retention?: { builds?: number | null; releases?: number | null } | null;
  session_days?: number | null;
}

export interface Settings {
  metadata: Metadata;
  spec: SettingsSpec;
}

export const SETTINGS = ['settings'] as const;

export function useSettings() {
  useFresh(SETTINGS, 'Settings');
  return useQuery({
    queryKey: SETTINGS,
    queryFn: async (): Promise<Settings> => {
      const response = await send(new Request(new URL('/api/v1/settings', window.location.origin)));
      const body: unknown = await response.json().catch(() => null);
      if (!response.ok) throw problemOf(response.status, body);
      return body as Settings;
    },
  });
}

/** What a form holds: text as it was typed. */
export interface SettingsDraft {
  domain: string;
  registries: RegistryDraft[];
  replicas: number | '';
  cpu: number | '';
  memory: string;
  builds: number | '';
  releases: number | '';
  sessionDays: number | '';
}

export interface RegistryDraft {
  /** For lists on the page only. */
  id: number;
  host: string;
  username: string;
  password: string;
  hasPassword: boolean;
}

let drafts = 0;
export const newRegistry = (): RegistryDraft => {
  drafts += 1;
  return { id: drafts, host: '', username: '', password: '', hasPassword: false };
};

export function draftOf(spec: SettingsSpec): SettingsDraft {
  const cpu = spec.defaults?.cpu;
  return {
    domain: spec.domain ?? '',
    registries: (spec.registries ?? []).map((registry) => ({
      ...newRegistry(),
      host: registry.host,
      username: registry.username,
      hasPassword: registry.has_password ?? false,
    })),
    replicas: spec.defaults?.replicas ?? '',
    cpu: cpu == null ? '' : Number(cpu),
    memory: spec.defaults?.memory ?? '',
    builds: spec.retention?.builds ?? '',
    releases: spec.retention?.releases ?? '',
    sessionDays: spec.session_days ?? '',
  };
}

const orNull = (value: number | ''): number | null => (value === '' ? null : value);

/** What is sent: an empty field is the platform's own default. A password that was not typed stays as it is. */
export function specOf(draft: SettingsDraft): SettingsSpec {
  return {
    domain: draft.domain.trim() || null,
    registries: draft.registries.map(({ host, username, password }) => ({
      host: host.trim(),
      username: username.trim(),
      ...(password === '' ? {} : { password }),
    })),
    defaults: { replicas: orNull(draft.replicas), cpu: orNull(draft.cpu), memory: draft.memory.trim() || null },
    retention: { builds: orNull(draft.builds), releases: orNull(draft.releases) },
    session_days: orNull(draft.sessionDays),
  };
}

const PARTS: readonly (readonly [string, (spec: SettingsSpec) => unknown])[] = [
  ['domain', (spec) => spec.domain ?? null],
  [
    'registries',
    (spec) => (spec.registries ?? []).map(({ host, username, password }) => [host, username, password ?? null]),
  ],
  [
    'what new apps get',
    ({ defaults }) => [
      defaults?.replicas ?? null,
      defaults?.cpu == null ? null : Number(defaults.cpu),
      defaults?.memory || null,
    ],
  ],
  ['what is kept', ({ retention }) => [retention?.builds ?? null, retention?.releases ?? null]],
  ['sessions', (spec) => spec.session_days ?? null],
];

/** What of two settings is not the same, in words. */
export function changedParts(before: SettingsSpec, after: SettingsSpec): string[] {
  return PARTS.filter(([, of]) => JSON.stringify(of(before)) !== JSON.stringify(of(after))).map(([words]) => words);
}

const FIELDS: Record<string, readonly (keyof SettingsDraft)[]> = {
  domain: ['domain'],
  registries: ['registries'],
  'what new apps get': ['replicas', 'cpu', 'memory'],
  'what is kept': ['builds', 'releases'],
  sessions: ['sessionDays'],
};

/** What others saved, with what was typed here on top: what nobody touched here stays as they have it. */
export function rebased(draft: SettingsDraft, base: SettingsSpec, theirs: SettingsSpec): SettingsDraft {
  const mine = changedParts(base, specOf(draft)).flatMap((part) => FIELDS[part] ?? []);
  return { ...draftOf(theirs), ...Object.fromEntries(mine.map((field) => [field, draft[field]])) };
}
