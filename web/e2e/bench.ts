/** Measures the dashboard in the browser, and prints what it saw. It judges nothing: machines differ. */
import type { CDPSession, Page } from '@playwright/test';
import { crowd } from './crowd';
import { ADMIN, expect, test } from './test';

const PODS = 2000;
const LINES = 100_000;
/** Changes of an hour in which something changes each second. */
const HOUR = 3600;
/** The processor is slowed down so many times for the first page, as measurements of pages usually do. */
const SLOWER = 4;

interface Frames {
  median: number;
  p99: number;
  late: number;
  all: number;
}

/** Times between frames while `doing` goes on, in milliseconds. `late` are those of two frames and more. */
async function frames(page: Page, doing: () => Promise<void>): Promise<Frames> {
  await page.evaluate(() => {
    const times: number[] = [];
    let on = true;
    const tick = (now: number) => {
      times.push(now);
      if (on) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    Object.assign(window, {
      endFrames: () => {
        on = false;
        return times;
      },
    });
  });
  await doing();
  const times = await page.evaluate(() => (window as unknown as { endFrames: () => number[] }).endFrames());
  const steps = times.slice(1).map((time, index) => time - (times[index] ?? time));
  const sorted = steps.toSorted((a, b) => a - b);
  const at = (part: number) => Number((sorted[Math.floor(sorted.length * part)] ?? 0).toFixed(1));
  return { median: at(0.5), p99: at(0.99), late: steps.filter((step) => step > 25).length, all: steps.length };
}

/** What the page's own objects take after a collection, in MiB. */
async function heap(cdp: CDPSession): Promise<number> {
  await cdp.send('HeapProfiler.collectGarbage');
  const { usedSize } = await cdp.send('Runtime.getHeapUsage');
  return Number((usedSize / 1024 / 1024).toFixed(1));
}

/** Turns the wheel over `selector` from its top down, so many times. */
async function wheel(page: Page, selector: string, turns: number): Promise<void> {
  const box = await page.locator(selector).first().boundingBox();
  if (box === null) throw new Error(`${selector} is not shown`);
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  for (let turn = 0; turn < turns; turn += 1) {
    await page.mouse.wheel(0, 400);
    await page.evaluate(() => new Promise((next) => requestAnimationFrame(next)));
  }
}

const say = (what: string, figure: unknown) => process.stdout.write(`${what}: ${JSON.stringify(figure)}\n`);

test('the dashboard in figures', async ({ browser, platform }) => {
  test.setTimeout(600_000);
  const many = await crowd(platform.url, PODS, LINES);
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const page = await context.newPage();
  const cdp = await context.newCDPSession(page);

  // The first page, of somebody who was never here.
  let transferred = 0;
  await cdp.send('Network.enable');
  cdp.on('Network.loadingFinished', ({ encodedDataLength }) => {
    transferred += encodedDataLength;
  });
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: SLOWER });
  await page.addInitScript(() => {
    const long: number[] = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) long.push(entry.duration);
    }).observe({ type: 'longtask', buffered: true });
    Object.assign(window, { long });
  });
  await page.goto(`${platform.url}/login`);
  await expect(page.getByRole('button', { name: 'Log in' })).toBeEnabled();
  const login = await page.evaluate(() => ({
    interactive: Math.round(performance.now()),
    firstPaint: Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0),
    blocked: Math.round(
      (window as unknown as { long: number[] }).long.reduce((sum, time) => sum + Math.max(0, time - 50), 0),
    ),
  }));
  say(`login page, processor ${SLOWER} times slower, ms`, login);
  say('login page, bytes transferred', transferred);
  await context.request.post(`${platform.url}/api/v1/session`, { data: ADMIN });
  await page.goto(`${platform.url}/`);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  say(
    `overview from its address, processor ${SLOWER} times slower, ms`,
    await page.evaluate(() => Math.round(performance.now())),
  );
  say('login page and overview, bytes transferred', transferred);
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: 1 });

  // Many pods.
  await context.request.post(`${many.url}/api/v1/session`, { data: ADMIN });
  await page.goto('about:blank');
  say('frames of an empty page, ms', await frames(page, () => page.waitForTimeout(2000)));
  await page.goto(`${many.url}/pods`);
  await expect(page.getByRole('table')).toHaveAttribute('aria-rowcount', String(PODS + 1));
  say(`${PODS} pods shown after, ms`, await page.evaluate(() => Math.round(performance.now())));
  say(`${PODS} pods, heap, MiB`, await heap(cdp));
  say(`${PODS} pods, frames while scrolled, ms`, await frames(page, () => wheel(page, '[role=table]', 200)));
  let stirred = 0;
  const stirring = setInterval(() => {
    for (let change = 0; change < 5; change += 1) many.stir(stirred + change);
    stirred += 5;
  }, 50);
  await page.locator('[role=table]').evaluate((table) => table.scrollTo(0, 0));
  const busy = await frames(page, () => wheel(page, '[role=table]', 200));
  clearInterval(stirring);
  say(`${PODS} pods, frames while scrolled with 100 changes a second, ms`, busy);

  // An hour of events, without its waiting.
  const before = await heap(cdp);
  for (let second = 0; second < HOUR; second += 1) {
    many.stir(second);
    if (second % 60 === 0) await page.evaluate(() => new Promise((next) => requestAnimationFrame(next)));
  }
  await page.waitForTimeout(2000);
  say(`heap before and after ${HOUR} events, MiB`, [before, await heap(cdp)]);

  // Many lines.
  await platform.coracle('deploy', '--image', 'coracle-test:1', '--app', 'app-00');
  await page.goto(`${many.url}/projects/default/apps/app-00/logs`);
  const reading = await frames(page, async () => {
    await expect(page.getByRole('log')).toContainText(`/things/${LINES - 1} `, { timeout: 120_000 });
  });
  say(`${LINES} lines there after, ms`, await page.evaluate(() => Math.round(performance.now())));
  say(`${LINES} lines, frames while they come, ms`, reading);
  say(`${LINES} lines, heap, MiB`, await heap(cdp));
  await page.getByRole('log').evaluate((log) => log.scrollTo(0, 0));
  say(`${LINES} lines, frames while scrolled, ms`, await frames(page, () => wheel(page, '[role=log]', 200)));
  await context.close();
  await many.close();
});
