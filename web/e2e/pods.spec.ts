import { expect, test } from './test';

test('a pod is created, typed into, and deleted', async ({ admin }) => {
  await admin.goto('/pods');
  await admin.getByRole('button', { name: 'Create pod' }).first().click();
  const dialog = admin.getByRole('dialog');
  await dialog.getByLabel(/^Image/).fill('coracle-test:1');
  await dialog.getByLabel(/^Name/).fill('tried');
  await dialog.getByLabel('Port').fill('8080');
  await dialog.getByLabel('Variables').fill('WORD=from-the-form');
  await dialog.getByRole('button', { name: 'Create' }).click();

  await expect(admin).toHaveURL(/\/projects\/default\/pods\/tried/);
  await expect(admin.locator('[data-phase=ready]').first()).toBeVisible();

  // A terminal, typed into. What it shows is read as the screen has it.
  await admin.getByRole('tab', { name: 'Terminal' }).click();
  const terminal = admin.getByRole('region', { name: /Terminal in tried/ });
  await terminal.locator('.xterm').click();
  await admin.keyboard.type('echo "the word is $WORD"; id -u');
  await admin.keyboard.press('Enter');
  await expect(terminal.locator('.xterm-rows')).toContainText('the word is from-the-form');

  // The raw description tells names and never values.
  await admin.getByRole('tab', { name: 'Description' }).click();
  const panel = admin.getByRole('tabpanel', { name: 'Description' });
  await expect(panel).toContainText('docker');
  await expect(panel).not.toContainText('from-the-form');

  await admin.goto('/pods');
  await admin.getByRole('button', { name: 'Actions for tried' }).click();
  await admin.getByRole('menuitem', { name: 'Delete' }).click();
  await admin.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(admin.getByRole('row', { name: /tried/ })).toHaveCount(0);
});

test('bad input names the field and changes nothing', async ({ admin }) => {
  await admin.goto('/pods?create=yes');
  const dialog = admin.getByRole('dialog');
  await dialog.getByLabel(/^Image/).fill('coracle-test:1');
  await dialog.getByLabel(/^Name/).fill('Not A Name');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await expect(dialog.getByRole('alert')).toContainText('metadata.name');
  await expect(dialog.getByLabel(/^Name/)).toHaveValue('Not A Name');
});
