import { Platform } from './platform';
import { ADMIN, accessible, expect, test } from './test';

/** The platform of the other tests has things on it: this one has nothing. */
test('from nothing to an app that answers: a login and three clicks', async ({ browser }) => {
  test.setTimeout(240_000);
  const platform = await Platform.start();
  const context = await browser.newContext({ baseURL: platform.url });
  try {
    const page = await context.newPage();
    await page.goto('/');
    await page.getByLabel('User name').fill(ADMIN.user);
    await page.getByLabel(/^Password/).fill(ADMIN.password);
    await page.getByRole('button', { name: 'Log in' }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Welcome to Coracle');
    await accessible(page);

    await page.getByRole('button', { name: /Static site/i }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Ready to deploy');
    await page.getByRole('button', { name: 'Deploy', exact: true }).click();
    await expect(page).toHaveURL(/\/projects\/default\/apps\/static-site$/, { timeout: 120_000 });
    const opened = context.waitForEvent('page');
    await page
      .getByRole('main')
      .getByRole('link', { name: /static-site\.localhost/ })
      .first()
      .click();
    const site = await opened;
    await expect(site).toHaveURL(platform.app('static-site'));
    expect((await site.reload())?.status()).toBe(200);
    await expect(site.getByRole('heading')).toHaveText('It works');

    // The overview is one of something now, and the welcome stays where it was for who wants it.
    await page.goto('/');
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Overview');
    await expect(page.getByRole('main')).toContainText('static-site');
  } finally {
    await context.close();
    await platform.remove();
  }
});
