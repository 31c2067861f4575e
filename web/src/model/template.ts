/** Templates: sources that come with the platform. */
import { useQuery } from '@tanstack/react-query';
import { client, data } from './client';

export function useTemplates() {
  return useQuery({
    queryKey: ['templates'],
    queryFn: async ({ signal }) => (await data(client.GET('/api/v1/templates', { signal }))).items,
  });
}
