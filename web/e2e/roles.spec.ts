import { expect, test } from './test';

const VIEWER = { user: 'vera', password: 'a password of vera' };

test('a viewer reads everything and is offered nothing that they may not do', async ({ another, platform }) => {
  platform.coracleWith(VIEWER.password, 'users', 'create', VIEWER.user, '--role', 'viewer', '--password-stdin');
  await platform.coracle('deploy', '--image', 'coracle-test:1', '--app', 'looked-at');
  const page = await another(VIEWER);
  const refused: string[] = [];
  page.on('response', (response) => {
    if (response.status() === 403) refused.push(response.url());
  });
  await page.goto('/');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.getByRole('link', { name: 'New app' })).toHaveCount(0);
  await expect(page.getByRole('link', { name: 'People' })).toHaveCount(0);
  await page.goto('/pods');
  await expect(page.getByRole('row', { name: /looked-at/ })).toContainText('ready');
  await expect(page.getByRole('button', { name: 'Create pod' })).toHaveCount(0);
  await expect(page.getByRole('button', { name: /^Actions for/ })).toHaveCount(0);
  await page.goto('/nodes');
  await page
    .getByRole('region', { name: /^Node / })
    .first()
    .getByRole('link')
    .first()
    .click();
  await expect(page.getByRole('table', { name: 'Pods on this node' })).toContainText('looked-at');
  for (const name of ['Close to new pods', 'Drain…']) await expect(page.getByRole('button', { name })).toHaveCount(0);
  await page.goto('/projects/default/apps/looked-at');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('looked-at');
  for (const name of ['Terminal', 'Environment']) await expect(page.getByRole('link', { name })).toHaveCount(0);
  await page.goto('/images');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Reclaim space' })).toHaveCount(0);
  expect(refused, 'requests that a viewer’s pages made and may not make').toEqual([]);
});
