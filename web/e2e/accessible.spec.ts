import { accessible, expect, test } from './test';

/** Every page, as it is on a platform on which something runs. */
const PAGES = [
  '/',
  '/welcome',
  '/new',
  '/apps',
  '/projects/default/apps/read',
  '/projects/default/apps/read/releases',
  '/projects/default/apps/read/builds',
  '/projects/default/apps/read/logs',
  '/projects/default/apps/read/metrics',
  '/projects/default/apps/read/env',
  '/projects/default/apps/read/processes',
  '/projects/default/apps/read/domains',
  '/projects/default/apps/read/volumes',
  '/projects/default/apps/read/events',
  '/projects/default/apps/read/settings',
  '/pods',
  '/nodes',
  '/builds',
  '/images',
  '/repositories/default/read',
  '/volumes',
  '/projects',
  '/activity',
  '/people',
  '/tokens',
  '/settings',
  '/reference',
];

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe finds nothing serious on any page, ${colorScheme}`, async ({ admin, platform, source }) => {
    test.setTimeout(240_000);
    await platform.coracle('deploy', source({ 'index.html': 'read me' }), '--app', 'read');
    await admin.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const path of PAGES) {
      await admin.goto(path);
      await expect(admin.getByRole('heading', { level: 1 })).toBeVisible();
      await expect(admin.getByRole('status', { name: 'Loading' })).toHaveCount(0);
      await accessible(admin);
    }
  });
}

test('the palette leads everywhere by keyboard', async ({ admin }) => {
  await admin.goto('/');
  await expect(admin.getByRole('heading', { level: 1 })).toBeVisible();
  await admin.keyboard.press('Control+k');
  await expect(admin.getByPlaceholder(/^Search for a place/)).toBeFocused();
  await admin.keyboard.type('nodes');
  await admin.keyboard.press('Enter');
  await expect(admin).toHaveURL(/\/nodes$/);
});
