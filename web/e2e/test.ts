/** `test` with a platform for each worker, and pages of people who are logged in. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { type Browser, type BrowserContext, test as base, expect, type Page } from '@playwright/test';
import { ADMIN, Platform } from './platform';

export { expect } from '@playwright/test';
export { ADMIN } from './platform';

/** Somebody at a browser. */
export interface Person {
  context: BrowserContext;
  page: Page;
}

async function person(browser: Browser, platform: Platform, login: typeof ADMIN): Promise<Person> {
  const context = await browser.newContext({ baseURL: platform.url });
  // Chromium lets go of what it loads when an interface of the machine comes or goes, and each container has one
  // (ERR_NETWORK_CHANGED). The page's own files are fetched outside of it, from the same platform.
  await context.route('**/assets/**', async (route) =>
    route.fulfill({ response: await route.fetch({ maxRetries: 2 }) }),
  );
  const answer = await context.request.post('/api/v1/session', { data: login });
  expect(answer.status()).toBe(201);
  const page = await context.newPage();
  return { context, page };
}

interface Fixtures {
  /** A folder with these files, on the image that all tests run unless they say otherwise; gone after the test. */
  source: (files: Record<string, string>) => string;
  /** The administrator's page. Every error that the browser tells of fails the test. */
  admin: Page;
  /** Another browser, of somebody of that role (made for the test). */
  another: (login?: typeof ADMIN) => Promise<Page>;
}

export const test = base.extend<Fixtures, { platform: Platform }>({
  platform: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of fixtures from this pattern
    async ({}, use) => {
      const platform = await Platform.start();
      await use(platform);
      await platform.remove();
    },
    { scope: 'worker', timeout: 180_000 },
  ],
  // biome-ignore lint/correctness/noEmptyPattern: as above
  source: async ({}, use) => {
    const made: string[] = [];
    await use((files) => {
      const folder = mkdtempSync(join(tmpdir(), 'coracle-web-source.'));
      made.push(folder);
      const all = { Dockerfile: 'FROM coracle-test:1\nCOPY index.html /www/index.html\n', ...files };
      for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text);
      return folder;
    });
    for (const folder of made) rmSync(folder, { recursive: true });
  },
  admin: async ({ browser, platform }, use) => {
    const { context, page } = await person(browser, platform, ADMIN);
    const wrong = watch(page);
    await use(page);
    await context.close();
    expect(wrong, 'errors of the page').toEqual([]);
  },
  another: async ({ browser, platform }, use) => {
    const people: Person[] = [];
    await use(async (login = ADMIN) => {
      const made = await person(browser, platform, login);
      people.push(made);
      return made.page;
    });
    for (const made of people) await made.context.close();
  },
});

/** Gathers what is wrong in a page: exceptions, and what the Content-Security-Policy refused. */
function watch(page: Page): string[] {
  const wrong: string[] = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content.Security.Policy|Refused to/i.test(message.text()))
      wrong.push(message.text());
  });
  return wrong;
}

/** Nothing serious that axe finds. */
export async function accessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const found = serious.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}: ${nodes
        .map((node) => node.html)
        .slice(0, 3)
        .join(' | ')}`,
  );
  expect(found, `axe on ${page.url()}`).toEqual([]);
}
