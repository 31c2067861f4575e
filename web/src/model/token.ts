/** The caller's own tokens. */
import { useQuery } from '@tanstack/react-query';
import { client } from './client';
import { useFresh } from './fresh';
import { allOf, pageQuery } from './page';

export const TOKENS = ['tokens'] as const;

export function useTokens() {
  useFresh(TOKENS, 'Token');
  return useQuery({
    queryKey: TOKENS,
    queryFn: () => allOf((after) => client.GET('/api/v1/tokens', { params: { query: pageQuery(after) } })),
  });
}

/** How long a token may last; the empty one is for ever. */
export const LASTS = [
  { value: '1d', label: 'One day' },
  { value: '7d', label: 'One week' },
  { value: '30d', label: '30 days' },
  { value: '90d', label: '90 days' },
  { value: '365d', label: 'One year' },
  { value: '', label: 'For ever' },
] as const;

/** Is it past? */
export function hasEnded(expires: string | null | undefined, now: number): boolean {
  return expires != null && new Date(expires).getTime() <= now;
}
