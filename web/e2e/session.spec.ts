import { ADMIN, expect, test } from './test';

test('a session that ends in the middle loses no work', async ({ admin, platform }) => {
  await admin.goto('/pods?create=yes');
  const dialog = admin.getByRole('dialog', { name: /pod/i });
  await dialog.getByLabel(/^Image/).fill('coracle-test:1');
  await dialog.getByLabel(/^Name/).fill('kept');
  // The session ends elsewhere, as when its time is over.
  const ended = await admin.context().request.delete('/api/v1/session');
  expect(ended.status()).toBe(204);
  const login = admin.getByRole('dialog', { name: 'Your session has ended' });
  await expect(login).toBeVisible();
  await login.getByLabel(/^Password/).fill(ADMIN.password);
  await login.getByRole('button', { name: 'Log in' }).click();
  await expect(login).toHaveCount(0);
  await expect(dialog.getByLabel(/^Name/)).toHaveValue('kept');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await expect(admin).toHaveURL(/\/pods\/kept/);
  await expect(admin.locator('[data-phase=ready]').first()).toBeVisible();
  await platform.coracle('pods', 'delete', 'kept');
});

test('what was asked while the session had ended goes on after the login', async ({ admin, platform }) => {
  await admin.goto('/pods?create=yes');
  const dialog = admin.getByRole('dialog', { name: /pod/i });
  await dialog.getByLabel(/^Image/).fill('coracle-test:1');
  await dialog.getByLabel(/^Name/).fill('asked');
  // The page has not noticed yet: the first that does is the request itself.
  await admin.context().clearCookies();
  await dialog.getByRole('button', { name: 'Create' }).click();
  const login = admin.getByRole('dialog', { name: 'Your session has ended' });
  await login.getByLabel(/^Password/).fill(ADMIN.password);
  await login.getByRole('button', { name: 'Log in' }).click();
  await expect(login).toHaveCount(0);
  await expect(admin).toHaveURL(/\/pods\/asked/);
  await expect(admin.locator('[data-phase=ready]').first()).toBeVisible();
  await platform.coracle('pods', 'delete', 'asked');
});
