/**
 * Keeping true what is asked for rather than told whole: when the platform tells that something of its kind changed,
 * or when the stream begins anew and changes may have been missed, it is asked for again.
 */
import { type QueryKey, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useRef } from 'react';
import { useLiveState, useNotices } from './collections';
import type { Notice } from './live';
import type { Kind } from './schema';

/** Changes often come together: one request is enough for them, after so many milliseconds. */
const TOGETHER = 120;

/** Asks again for `key` (and all that begins with it) when something of one of the kinds changed. */
export function useFresh(key: QueryKey, ...kinds: Kind[]): void {
  const cache = useQueryClient();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const [name, wanted] = [JSON.stringify(key), kinds.join(' ')];
  const again = useCallback(() => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      void cache.invalidateQueries({ queryKey: JSON.parse(name) as QueryKey });
    }, TOGETHER);
  }, [cache, name]);
  useNotices(
    useCallback(
      (notices: readonly Notice[]) => {
        if (notices.some((notice) => wanted.split(' ').includes(notice.object.kind))) again();
      },
      [again, wanted],
    ),
  );
  const state = useLiveState();
  const missed = useRef(false);
  useEffect(() => {
    if (state === 'away') missed.current = true;
    else if (state === 'live' && missed.current) {
      missed.current = false;
      again();
    }
  }, [state, again]);
  useEffect(() => () => clearTimeout(timer.current), []);
}
