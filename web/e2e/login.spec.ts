import { ADMIN, expect, test } from './test';

test('a stranger is led to the login, and from there to where they wanted', async ({ browser, platform }) => {
  const context = await browser.newContext({ baseURL: platform.url });
  const page = await context.newPage();
  await page.goto('/nodes');
  await expect(page).toHaveURL(/\/login\?next=/);
  await page.getByLabel('User name').fill(ADMIN.user);
  await page.getByLabel(/^Password/).fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('alert')).toContainText('wrong');
  await page.getByLabel(/^Password/).fill(ADMIN.password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page).toHaveURL(/\/nodes$/);
  await context.close();
});

test('a login leads nowhere but to pages of the dashboard', async ({ browser, platform }) => {
  const context = await browser.newContext({ baseURL: platform.url });
  const page = await context.newPage();
  for (const next of ['//example.org/', '/\\example.org/', 'https://example.org/', 'javascript:alert(1)']) {
    await page.goto(`/login?next=${encodeURIComponent(next)}`);
    await page.getByLabel('User name').fill(ADMIN.user);
    await page.getByLabel(/^Password/).fill(ADMIN.password);
    await page.getByRole('button', { name: 'Log in' }).click();
    await expect(page).not.toHaveURL(/login/);
    expect(new URL(page.url()).host).toBe(new URL(platform.url).host);
    await context.clearCookies();
  }
  await context.close();
});
