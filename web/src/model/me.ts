/** Who is logged in and what they may do. */
import { useQuery } from '@tanstack/react-query';
import { useSyncExternalStore } from 'react';
import { client, data } from './client';
import type { Role, WhoAmI } from './schema';
import { session } from './session';

export const ME = ['session'] as const;

export function meQuery() {
  return {
    queryKey: ME,
    queryFn: async (): Promise<WhoAmI> => {
      const me = await data(client.GET('/api/v1/session'));
      session.begun();
      return me;
    },
    retry: false as const,
  };
}

export function useMe(): WhoAmI | undefined {
  return useQuery(meQuery()).data;
}

export function useSession() {
  return useSyncExternalStore(session.subscribe, session.snapshot);
}

const RANK: Record<Role, number> = { viewer: 0, developer: 1, admin: 2 };

/**
 * Whether somebody may do what takes a role, in a project or (without one) on the platform. What they may not do is
 * not offered; the API refuses it all the same.
 */
export function may(me: WhoAmI | undefined, role: Role, project?: string): boolean {
  if (me === undefined || RANK[me.role] < RANK[role]) return false;
  if (me.projects === 'all') return true;
  return project !== undefined && me.projects.only.includes(project);
}

export function useMay(role: Role, project?: string): boolean {
  return may(useMe(), role, project);
}
