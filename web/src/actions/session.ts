/** Logging in and out. */
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, data } from '../model/client';
import { ME } from '../model/me';
import type { Login } from '../model/schema';
import { session } from '../model/session';

/** Logs in; what waited for that goes on, and a page that somebody else left behind does not. */
export function useLogin() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (login: Login) => data(client.POST('/api/v1/session', { body: login })),
    onSuccess: async (begun) => {
      const before = cache.getQueryData<{ user: string }>(ME);
      if (before !== undefined && before.user !== begun.user) {
        // What the other person typed is theirs: begin with an empty page.
        window.location.assign('/');
        return;
      }
      session.begun();
      await cache.invalidateQueries({ queryKey: ME });
    },
  });
}

export function useLogout() {
  return useMutation({
    mutationFn: () => data(client.DELETE('/api/v1/session')),
    // The whole page goes, and everything that was in its memory.
    onSettled: () => {
      session.ended();
      window.location.assign('/login');
    },
  });
}
