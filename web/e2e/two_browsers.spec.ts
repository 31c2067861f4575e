import { expect, test } from './test';

test('two browsers see what the other does within a second', async ({ admin, another, platform }) => {
  await platform.coracle('deploy', '--image', 'coracle-test:1', '--app', 'shared');
  const other = await another();
  await admin.goto('/projects');
  await other.goto('/projects');
  await expect(other.getByRole('main')).toContainText('default');
  await admin.context().request.post('/api/v1/projects', { data: { metadata: { name: 'of-another' } } });
  const asked = Date.now();
  await expect(other.getByRole('main')).toContainText('of-another', { timeout: 1000 });
  expect(Date.now() - asked).toBeLessThan(1000);
  await admin.goto('/pods');
  await other.goto('/pods');
  const rows = other.getByRole('row', { name: /shared-web/ });
  await expect(rows).toHaveCount(1);
  await platform.coracle('scale', 'shared', 'web=2');
  await expect(rows).toHaveCount(2);
  await expect(admin.getByRole('row', { name: /shared-web/ })).toHaveCount(2, { timeout: 1000 });
});

test('two people change the same variables: nothing that was typed is lost, and nothing is written over unseen', async ({
  admin,
  another,
  platform,
}) => {
  await platform.coracle('deploy', '--image', 'coracle-test:1', '--app', 'edited');
  await platform.coracle('env', 'edited', 'set', 'GREETING=hello');
  const other = await another();
  for (const page of [admin, other]) {
    await page.goto('/projects/default/apps/edited/env');
    await expect(page.getByLabel('Value of GREETING')).toHaveValue('hello');
  }
  await other.getByLabel('Value of GREETING').fill('typed by the second');
  await admin.getByLabel('Value of GREETING').fill('saved by the first');
  await admin.getByRole('button', { name: 'Save' }).click();
  await expect(admin.getByRole('region', { name: 'Changes that are not saved' })).toHaveCount(0);

  const alert = other.getByRole('alert').filter({ hasText: 'Somebody else changed this app' });
  await expect(alert).toContainText('GREETING');
  await expect(other.getByLabel('Value of GREETING')).toHaveValue('typed by the second');
  await alert.getByRole('button', { name: 'Take the newest and keep mine' }).click();
  await expect(alert).toHaveCount(0);
  await expect(other.getByLabel('Value of GREETING')).toHaveValue('typed by the second');
  await other.getByRole('button', { name: 'Save' }).click();
  await expect(admin.getByLabel('Value of GREETING')).toHaveValue('typed by the second');
});
