/** Pictures of every page, light, dark and as on a phone, of a platform on which something goes on. */
import { join, resolve } from 'node:path';
import type { Page } from '@playwright/test';
import type { Platform } from './platform';
import { ADMIN, expect, test } from './test';

const OUT = resolve(import.meta.dirname, '../screenshots');

/** What a page looks like, by name; `:` parts are filled in. */
const PAGES: Record<string, string> = {
  overview: '/',
  welcome: '/welcome',
  new: '/new',
  apps: '/apps',
  app: '/projects/default/apps/shop',
  'app-releases': '/projects/default/apps/shop/releases',
  'app-builds': '/projects/default/apps/shop/builds',
  'app-build': '/projects/default/apps/shop/builds/b1',
  'app-logs': '/projects/default/apps/shop/logs',
  'app-metrics': '/projects/default/apps/shop/metrics',
  'app-env': '/projects/default/apps/shop/env',
  'app-processes': '/projects/default/apps/shop/processes',
  'app-domains': '/projects/default/apps/shop/domains',
  'app-volumes': '/projects/default/apps/shop/volumes',
  'app-terminal': '/projects/default/apps/shop/terminal',
  'app-events': '/projects/default/apps/shop/events',
  'app-settings': '/projects/default/apps/shop/settings',
  'app-failed': '/projects/default/apps/broken',
  pods: '/pods',
  pod: '/projects/default/pods/:pod',
  nodes: '/nodes',
  node: '/nodes/:node',
  builds: '/builds',
  images: '/images',
  image: '/repositories/default/shop',
  volumes: '/volumes',
  projects: '/projects',
  activity: '/activity',
  people: '/people',
  tokens: '/tokens',
  settings: '/settings',
  reference: '/reference',
};

const LOOKS = [
  { name: 'light', colorScheme: 'light', viewport: { width: 1280, height: 860 } },
  { name: 'dark', colorScheme: 'dark', viewport: { width: 1280, height: 860 } },
  { name: 'phone', colorScheme: 'light', viewport: { width: 390, height: 844 } },
] as const;

/** An app that works, with a second release, one that does not, a pod, people and projects. */
async function furnish(
  platform: Platform,
  source: (files: Record<string, string>) => string,
): Promise<Record<string, string>> {
  const toml =
    'app = "shop"\n[env]\nGREETING = "hello"\n[process.web]\nport = 8080\nreplicas = 2\n[[volume]]\nname = "data"\npath = "/data"\nsize = "1Gi"\n';
  const shop = source({ 'index.html': 'A shop', 'coracle.toml': toml });
  await platform.coracle('deploy', shop);
  await platform.coracle('env', 'shop', 'set', 'CURRENCY=EUR');
  const broken = source({
    Dockerfile: 'FROM coracle-test:1\nCMD ["/bin/sh", "-c", "echo no database at db:5432; exit 3"]\n',
  });
  await platform.coracle('deploy', broken, '--app', 'broken').catch(() => undefined);
  await platform.coracle('projects', 'create', 'staging');
  platform.coracleWith('a password of vera', 'users', 'create', 'vera', '--role', 'viewer', '--password-stdin');
  const pods = JSON.parse(await platform.coracle('pods', '--output', 'json')) as {
    items: { metadata: { name: string } }[];
  };
  const nodes = JSON.parse(await platform.coracle('nodes', '--output', 'json')) as {
    items: { metadata: { name: string } }[];
  };
  const pod = pods.items.find(({ metadata }) => metadata.name.startsWith('shop'))?.metadata.name ?? '';
  return { pod, node: nodes.items[0]?.metadata.name ?? '' };
}

async function settle(page: Page): Promise<void> {
  await page.waitForLoadState('load');
  await expect(page.getByRole('status', { name: 'Loading' })).toHaveCount(0);
  await page.waitForFunction(() => document.fonts.status === 'loaded');
}

test('screenshots', async ({ browser, platform, source }) => {
  const parts = await furnish(platform, source);
  const wide: string[] = [];
  for (const look of LOOKS) {
    const context = await browser.newContext({
      baseURL: platform.url,
      colorScheme: look.colorScheme,
      viewport: look.viewport,
    });
    const page = await context.newPage();
    await page.goto('/login');
    await page.screenshot({ path: join(OUT, `login-${look.name}.png`) });
    await context.request.post('/api/v1/session', { data: ADMIN });
    for (const [name, path] of Object.entries(PAGES)) {
      await page.goto(path.replace(/:(\w+)/g, (_, part: string) => parts[part] ?? ''));
      await settle(page);
      const across = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (across > 0) wide.push(`${name} (${look.name}) by ${across} px`);
      await page.screenshot({ path: join(OUT, `${name}-${look.name}.png`), fullPage: true });
    }
    await context.close();
  }
  expect(wide, 'pages that are wider than the window').toEqual([]);
});
