import type { CDPSession, Page } from '@playwright/test';
import { accessible, expect, test } from './test';

/** Drops a folder on the page, as the file manager does it. */
async function drop(page: Page, folder: string): Promise<void> {
  const zone = page.getByText('Drop your app’s folder here');
  await zone.scrollIntoViewIfNeeded();
  const box = await zone.boundingBox();
  if (box === null) throw new Error('there is no place to drop a folder on');
  const cdp: CDPSession = await page.context().newCDPSession(page);
  const at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  const data = { items: [], files: [folder], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const)
    await cdp.send('Input.dispatchDragEvent', { type, ...at, data });
  await cdp.detach();
}

async function deploy(page: Page, folder: string, app: string): Promise<void> {
  await drop(page, folder);
  await page.getByLabel(/^Name of the app/).fill(app);
  await page.getByRole('button', { name: 'Deploy' }).click();
}

test('a folder dropped becomes an app with a URL; one that breaks says why; a rollback takes it back', async ({
  admin,
  platform,
  source,
}) => {
  const good = source({ 'index.html': 'the first page', 'coracle.toml': '[env]\nGREETING = "hello"\n' });
  await admin.goto('/new');
  await accessible(admin);
  await deploy(admin, good, 'dropped');
  await expect(admin).toHaveURL(/\/projects\/default\/apps\/dropped$/, { timeout: 60_000 });
  await expect(admin.getByRole('link', { name: /dropped\.localhost/ }).first()).toHaveAttribute(
    'href',
    platform.app('dropped').replace(/\/$/, ''),
  );
  const page = await admin.context().newPage();
  await page.goto(platform.app('dropped'));
  await expect(page.locator('body')).toContainText('the first page');

  // A second version that does not work: the reason and its last words are shown, and the first goes on.
  const bad = source({
    Dockerfile: 'FROM coracle-test:1\nCMD ["/bin/sh", "-c", "echo cannot reach the database; exit 3"]\n',
  });
  await admin.goto('/new?app=dropped');
  await deploy(admin, bad, 'dropped');
  const alert = admin.getByRole('alert').filter({ hasText: 'The last it said' });
  await expect(alert).toContainText('cannot reach the database', { timeout: 90_000 });
  await expect(alert).toContainText(/exit/i);
  await page.reload();
  await expect(page.locator('body')).toContainText('the first page');

  // A third that works, and back to the first.
  const third = source({ 'index.html': 'the third page' });
  await admin.goto('/new?app=dropped');
  await deploy(admin, third, 'dropped');
  await expect(admin).toHaveURL(/\/projects\/default\/apps\/dropped$/, { timeout: 60_000 });
  await admin.getByRole('link', { name: 'Releases', exact: true }).click();
  const table = admin.getByRole('table');
  await expect(table.getByRole('row', { name: /v3/ })).toContainText('live');
  await table.getByRole('button', { name: 'v1', exact: true }).click();
  await admin.getByRole('button', { name: 'Go back to v1' }).click();
  await admin.getByRole('dialog').getByRole('button', { name: 'Do it' }).click();
  await expect(table.getByRole('row', { name: /v4/ })).toContainText('live', { timeout: 60_000 });
  await page.reload();
  await expect(page.locator('body')).toContainText('the first page');
});

test('a folder that says nothing of how to build is told what it needs', async ({ admin, source }) => {
  const bare = source({ Dockerfile: '', 'app.py': 'print("hello")\n' });
  await admin.goto('/new');
  await drop(admin, bare);
  await expect(admin.getByRole('main')).toContainText(/Dockerfile/, { timeout: 60_000 });
  await expect(admin.getByRole('button', { name: 'Deploy', exact: true })).toHaveCount(0);
});

test('an app is scaled, and its logs are followed', async ({ admin, platform }) => {
  await platform.coracle('deploy', '--image', 'coracle-test:1', '--app', 'scaled');
  await admin.goto('/projects/default/apps/scaled/processes');
  await admin.getByRole('button', { name: 'One pod more of web' }).click();
  await expect(admin.getByRole('main')).toContainText(/2 of 2/, { timeout: 60_000 });
  const pods = await platform.coracle('ps', 'scaled');
  expect(pods.split('\n').filter((line) => line.includes('ready'))).toHaveLength(2);

  await admin.goto('/projects/default/apps/scaled/logs');
  const log = admin.getByRole('log');
  await expect(log).toBeVisible();
  const pod = /scaled-web\S+/.exec(pods)?.[0] ?? '';
  await platform.coracle('exec', pod, '--', '/bin/sh', '-c', 'echo "told to the first process" > /proc/1/fd/1');
  await expect(log).toContainText('told to the first process');
});
