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
