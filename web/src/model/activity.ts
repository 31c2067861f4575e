/** Who did what. */
import { type InfiniteData, useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback } from 'react';
import { send } from './client';
import { useNotices } from './collections';
import type { Notice } from './live';
import { ApiProblem, problemOf } from './problem';
import type { EventList } from './schema';

export type Activity = EventList['items'][number];

/** What the list is narrowed by, on the server. */
export interface ActivityFilter {
  project?: string | undefined;
  kind?: string | undefined;
  actor?: string | undefined;
  object?: string | undefined;
}

interface ActivityPage {
  items: Activity[];
  next?: string | null;
}

const ON_A_PAGE = 100;

/** An export has so many entries at most. */
export const EXPORT_MOST = 20_000;

async function page(filter: ActivityFilter, limit: number, after: string | undefined): Promise<ActivityPage> {
  try {
    return await ask({ ...filter }, limit, after);
  } catch (error) {
    // A platform that knows no such filter tells everything, and it is narrowed here.
    if (!(error instanceof ApiProblem && error.code === 'unknown_field')) throw error;
    return ask({}, limit, after);
  }
}

async function ask(filter: ActivityFilter, limit: number, after: string | undefined): Promise<ActivityPage> {
  const query = new URLSearchParams({ limit: String(limit) });
  for (const [name, value] of Object.entries({ ...filter, after })) if (value !== undefined) query.set(name, value);
  const response = await send(new Request(new URL(`/api/v1/activity?${query}`, window.location.origin)));
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) throw problemOf(response.status, body);
  return body as ActivityPage;
}

/** Does an event belong to a list that is narrowed so? */
export function passes(event: Activity, filter: ActivityFilter): boolean {
  return (
    (filter.project === undefined || event.metadata.project === filter.project) &&
    (filter.kind === undefined || event.spec.kind === filter.kind) &&
    (filter.actor === undefined || event.spec.actor === filter.actor) &&
    (filter.object === undefined || event.spec.object === filter.object)
  );
}

/** The pages with what was told meanwhile on top; the same ones when nothing of it belongs there. */
export function withNews(pages: readonly ActivityPage[], news: readonly Activity[]): readonly ActivityPage[] {
  const [first, ...rest] = pages;
  if (first === undefined) return pages;
  const known = new Set(pages.flatMap((page) => page.items.map((event) => event.metadata.uid)));
  const newest = first.items[0]?.metadata.created ?? '';
  const fresh = news.filter((event) => !known.has(event.metadata.uid) && event.metadata.created >= newest);
  if (fresh.length === 0) return pages;
  fresh.sort((a, b) => b.metadata.created.localeCompare(a.metadata.created));
  return [{ ...first, items: [...fresh, ...first.items] }, ...rest];
}

/** What happened, the newest first; new things come on top as they happen. */
export function useActivity(filter: ActivityFilter) {
  const cache = useQueryClient();
  const name = JSON.stringify(filter);
  useNotices(
    useCallback(
      (notices: readonly Notice[]) => {
        const wanted = JSON.parse(name) as ActivityFilter;
        const news = notices
          .filter((notice) => notice.change === 'applied' && notice.object.kind === 'Event')
          .map((notice) => notice.object as unknown as Activity)
          .filter((event) => passes(event, wanted));
        if (news.length === 0) return;
        cache.setQueryData<InfiniteData<ActivityPage, string | undefined>>(['activity', wanted], (before) => {
          if (before === undefined) return undefined;
          const pages = withNews(before.pages, news);
          return pages === before.pages ? before : { ...before, pages: [...pages] };
        });
      },
      [cache, name],
    ),
  );
  return useInfiniteQuery({
    queryKey: ['activity', filter],
    queryFn: ({ pageParam }) => page(filter, ON_A_PAGE, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
  });
}

/** Everything that the filter lets through, for a file. */
export async function wholeActivity(filter: ActivityFilter): Promise<Activity[]> {
  const items: Activity[] = [];
  let after: string | undefined;
  do {
    const answer = await page(filter, 500, after);
    items.push(...answer.items.filter((event) => passes(event, filter)));
    after = answer.next ?? undefined;
  } while (after !== undefined && items.length < EXPORT_MOST);
  return items;
}

/** One field of a table for spreadsheets: a leading sign must not become a formula there. */
function field(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** As a file that spreadsheets open. */
export function activityCsv(events: readonly Activity[]): string {
  const rows = events.map(({ metadata, spec }) => [
    metadata.created,
    spec.actor,
    spec.action,
    metadata.project ?? '',
    spec.kind,
    spec.object,
    spec.message,
  ]);
  return [['time', 'actor', 'action', 'project', 'kind', 'object', 'message'], ...rows]
    .map((row) => row.map(field).join(','))
    .join('\r\n');
}

/** What happened, in words: some messages only say more of what was done. */
export function happened({ spec }: Activity): string {
  const { action, message } = spec;
  if (message !== '' && !/^(for|of) /.test(message)) return message;
  return `${action.replaceAll(/[._]/g, ' ')} ${message}`.trim();
}

/** The platform's own parts; people have names without spaces in them. */
export function isPlatform(actor: string): boolean {
  return actor.includes(' ') || actor === 'registry' || actor === 'platform';
}
