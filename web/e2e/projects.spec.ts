import { expect, test } from './test';

test('a project is made, described, and deleted after its name was typed', async ({ admin }) => {
  await admin.goto('/projects');
  await admin.getByRole('button', { name: 'New project' }).first().click();
  const dialog = admin.getByRole('dialog');
  await dialog.getByLabel(/^Name/).fill('garden');
  await dialog.getByLabel(/^Description/).fill('What grows');
  await dialog.getByRole('button', { name: 'Make it' }).click();
  const card = admin.getByRole('article', { name: 'garden' });
  await expect(card).toContainText('What grows');

  await card.getByRole('button', { name: 'What can be done with garden' }).click();
  await admin.getByRole('menuitem', { name: 'Delete it' }).click();
  const remove = dialog.getByRole('button', { name: 'Delete' });
  await expect(remove).toBeDisabled();
  await dialog.getByLabel(/^Type garden/).fill('garden');
  await remove.click();
  await expect(card).toHaveCount(0);
});

test('a project with an app in it is not deleted by mistake', async ({ admin, platform }) => {
  await platform.coracle('deploy', '--image', 'coracle-test:1', '--app', 'needed');
  await admin.goto('/projects');
  const card = admin.getByRole('article', { name: 'default' });
  await expect(card).toContainText(/\d+ apps?, \d+ pods?/);
  await card.getByRole('button', { name: 'What can be done with default' }).click();
  await admin.getByRole('menuitem', { name: 'Delete it' }).click();
  await expect(admin.getByRole('dialog')).toContainText('Delete them first');
  await expect(admin.getByRole('dialog').getByRole('button', { name: 'Delete' })).toHaveCount(0);
});
