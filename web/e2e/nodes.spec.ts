import { accessible, expect, test } from './test';

test('a node shows what it has and what runs on it, and is cordoned and opened again', async ({ admin, platform }) => {
  await platform.coracle('deploy', '--image', 'coracle-test:1', '--app', 'on-node');
  await admin.goto('/nodes');
  const card = admin.getByRole('region', { name: /^Node / }).first();
  await expect(card).toContainText('ready');
  await card.getByRole('link').first().click();
  await expect(admin.getByRole('table', { name: 'Pods on this node' })).toContainText('on-node');
  await expect(admin.getByRole('region', { name: 'In use' })).toContainText(/GiB/);
  await accessible(admin);
  await admin.getByRole('button', { name: 'Close to new pods' }).click();
  await expect(admin.locator('[data-phase=cordoned]').first()).toBeVisible();
  await admin.getByRole('button', { name: 'Open to new pods' }).click();
  await expect(admin.locator('[data-phase=cordoned]')).toHaveCount(0);
});
