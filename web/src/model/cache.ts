/** The cache of what the platform said, and the stream that keeps it true. One of each for the page. */
import { QueryClient } from '@tanstack/react-query';
import { client } from './client';
import { Live } from './live';
import { isPassing } from './problem';
import { session } from './session';

/** A request that failed for a passing reason is sent again so often. */
const RETRIES = 3;

export const cache = new QueryClient({
  defaultOptions: {
    queries: {
      // What changes is told by the stream; nothing is asked for again because time passed.
      staleTime: Number.POSITIVE_INFINITY,
      refetchOnWindowFocus: false,
      refetchOnReconnect: true,
      retry: (count, error) => count < RETRIES && isPassing(error),
    },
    mutations: { retry: false },
  },
});

/** Whether the session still holds: the event stream cannot say why it was refused. */
async function probeSession(): Promise<void> {
  try {
    await client.GET('/api/v1/session');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'unauthenticated') void session.renewed();
  }
}

export const live = new Live(cache, () => void probeSession());

session.subscribe(() => {
  if (session.state === 'in') live.start();
  else live.stop();
  // Another person's things must not stay in the page.
  if (session.state === 'out') cache.clear();
});
