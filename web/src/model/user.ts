/** People, and what each role lets them do, in words. */
import { useQuery } from '@tanstack/react-query';
import { client } from './client';
import { useFresh } from './fresh';
import { allOf, pageQuery } from './page';
import type { ProjectScope, Role } from './schema';

export const USERS = ['users'] as const;

export function useUsers() {
  useFresh(USERS, 'User');
  return useQuery({
    queryKey: USERS,
    queryFn: () => allOf((after) => client.GET('/api/v1/users', { params: { query: pageQuery(after) } })),
  });
}

export const ROLES: readonly { role: Role; can: string; cannot: string }[] = [
  {
    role: 'viewer',
    can: 'Sees apps, pods, builds, logs and settings of their projects.',
    cannot: 'Changes nothing, and never sees the values of secrets.',
  },
  {
    role: 'developer',
    can: 'Also deploys, changes and deletes apps, pods, volumes and images in their projects, and opens terminals.',
    cannot: 'Does not make projects or people, and does not touch nodes.',
  },
  {
    role: 'admin',
    can: 'Also makes projects and people, cares for nodes and changes the platform’s settings.',
    cannot: 'Nothing is closed to them. Give this role to few.',
  },
];

/** Where a role holds, in words. */
export function scopeWords(scope: ProjectScope | undefined): string {
  if (scope === undefined || scope === 'all') return 'All projects';
  return scope.only.length === 0 ? 'No project' : scope.only.join(', ');
}

/** No sign in it is taken for another. */
const SIGNS = 'abcdefghijkmnpqrstuvwxyz23456789';

/** A password that nobody guesses: four groups of five signs, 100 bits. */
export function makePassword(): string {
  const random = crypto.getRandomValues(new Uint8Array(20));
  // There are 32 signs, so each is as likely as the others.
  const signs = [...random].map((byte) => SIGNS.charAt(byte % SIGNS.length));
  return [0, 5, 10, 15].map((at) => signs.slice(at, at + 5).join('')).join('-');
}
