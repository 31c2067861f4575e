import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, data } from '../model/client';
import { envKey } from '../model/env';
import type { AppRef } from '../model/objects';
import type { EnvChange } from '../model/schema';
import { done } from './notify';

/** Saves variables: one release for all of them. Refused when somebody else was faster. */
export function useChangeEnv() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: ({ ref, change, revision }: { ref: AppRef; change: EnvChange; revision: number }) =>
      data(
        client.PATCH('/api/v1/projects/{project}/apps/{app}/env', {
          params: { path: ref },
          headers: { 'If-Match': `"${revision}"` },
          body: change,
        }),
      ),
    // Secrets that were typed are not kept in memory.
    gcTime: 0,
    onSuccess: ({ release }) =>
      done(
        release == null
          ? 'The variables are saved. They count from the first release on.'
          : `The variables are saved. ${release} brings them to the app now.`,
      ),
    onSettled: (_, __, { ref }) => cache.invalidateQueries({ queryKey: envKey(ref) }),
  });
}
