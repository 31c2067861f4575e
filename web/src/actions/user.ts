/** Making people, changing what they may do, and passwords. */
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, data, ifMatch } from '../model/client';
import type { InputMetadata, ProjectScope, Role, User } from '../model/schema';
import { USERS } from '../model/user';
import { done } from './notify';

export interface NewPerson {
  name: string;
  password: string;
  role: Role;
  projects: ProjectScope;
}

/** What names a new object; the rest of it is the platform's to say. */
const named = (name: string): InputMetadata => ({
  name,
  created: null,
  deleting: null,
  project: null,
  revision: null,
  uid: null,
});

export function useCreateUser() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: ({ name, ...spec }: NewPerson) =>
      data(client.POST('/api/v1/users', { body: { metadata: named(name), spec } })),
    onSuccess: (_, { name }) => {
      done(`${name} can log in now.`);
      void cache.invalidateQueries({ queryKey: USERS });
    },
  });
}

export function useChangeUser() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: ({ user, role, projects }: { user: User; role: Role; projects: ProjectScope }) =>
      data(
        client.PUT('/api/v1/users/{user}', {
          params: { path: { user: user.metadata.name } },
          headers: ifMatch(user),
          body: { spec: { role, projects } },
        }),
      ),
    onSuccess: (_, { user }) => done(`What ${user.metadata.name} may do is changed.`),
    onSettled: () => void cache.invalidateQueries({ queryKey: USERS }),
  });
}

export function useDeleteUser() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (user: string) => data(client.DELETE('/api/v1/users/{user}', { params: { path: { user } } })),
    onSuccess: (_, user) => {
      done(`${user} is deleted.`);
      void cache.invalidateQueries({ queryKey: USERS });
    },
  });
}

/** Sets somebody's password; one's own takes the present one. */
export function useSetPassword() {
  return useMutation({
    mutationFn: ({ user, password, current }: { user: string; password: string; current?: string }) =>
      data(
        client.PUT('/api/v1/users/{user}/password', {
          params: { path: { user } },
          body: current === undefined ? { password } : { password, current },
        }),
      ),
    onSuccess: (_, { user }) => done(`The password of ${user} is changed, and their sessions have ended.`),
  });
}
