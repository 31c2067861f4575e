import { useMutation, useQueryClient } from '@tanstack/react-query';
import { ifMatch, send } from '../model/client';
import { problemOf } from '../model/problem';
import { SETTINGS, type Settings, type SettingsSpec } from '../model/settings';
import { done } from './notify';

export function useChangeSettings() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async ({ base, spec }: { base: Settings; spec: SettingsSpec }): Promise<Settings> => {
      const response = await send(
        new Request(new URL('/api/v1/settings', window.location.origin), {
          method: 'PUT',
          headers: { 'Content-Type': 'application/json', ...ifMatch(base) },
          body: JSON.stringify({ spec }),
        }),
      );
      const body: unknown = await response.json().catch(() => null);
      if (!response.ok) throw problemOf(response.status, body);
      return body as Settings;
    },
    onSuccess: (saved) => {
      done('The settings are saved.');
      cache.setQueryData(SETTINGS, saved);
    },
    // Somebody else may have written in between: the page tells what.
    onError: () => void cache.invalidateQueries({ queryKey: SETTINGS }),
  });
}
