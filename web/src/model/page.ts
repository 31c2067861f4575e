/** Lists that the API cuts into pages. */
import { data } from './client';

interface ListPage<T> {
  items: T[];
  next?: string | null;
}

/** The most objects that one page has. */
export const PAGE = 500;

/** No list that is shown whole is longer: what comes after is left out. */
const MOST_PAGES = 20;

/** All pages of a list, one after the other. */
export async function allOf<T>(
  page: (after: string | undefined) => Promise<{ data?: ListPage<T>; response: Response }>,
): Promise<T[]> {
  const items: T[] = [];
  let after: string | undefined;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const answer = await data(page(after));
    items.push(...answer.items);
    if (answer.next == null) break;
    after = answer.next;
  }
  return items;
}

/** The query of one page. */
export function pageQuery(after: string | undefined): { limit: number; after?: string } {
  return after === undefined ? { limit: PAGE } : { limit: PAGE, after };
}
