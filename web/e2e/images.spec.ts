import { expect, test } from './test';

test('an image shows how it was made and who uses it; one in use is protected, another is deleted', async ({
  admin,
  platform,
  source,
}) => {
  await platform.coracle('deploy', source({ 'index.html': 'one' }), '--app', 'pictured');
  await platform.coracle('deploy', source({ 'index.html': 'two' }), '--app', 'pictured');
  await admin.goto('/images');
  await admin.getByRole('link', { name: 'default/pictured' }).click();
  const table = admin.getByRole('table', { name: /default\/pictured/ });
  await expect(table.getByRole('row')).toHaveCount(3);

  await table.getByRole('link', { name: 'b2' }).click();
  await expect(admin.getByRole('heading', { level: 1 })).toContainText('default/pictured:b2');
  await expect(admin.getByRole('main')).toContainText('COPY index.html');
  await admin.getByRole('button', { name: 'Delete…' }).click();
  await expect(admin.getByRole('dialog')).toContainText('v2');
  await admin.keyboard.press('Escape');

  // A tag alone holds nothing up: its image stays as long as a release may need it.
  await admin.goto('/repositories/default/pictured');
  await table.getByRole('button', { name: 'Delete b1' }).click();
  const dialog = admin.getByRole('dialog');
  const typed = dialog.getByRole('textbox');
  if ((await typed.count()) > 0) await typed.fill('b1');
  await dialog.getByRole('button', { name: /^Delete/ }).click();
  await expect(table.getByRole('link', { name: 'b1', exact: true })).toHaveCount(0);

  await admin.goto('/images');
  await admin.getByRole('button', { name: 'Reclaim space' }).click();
  await expect(admin.getByRole('main')).toContainText(/reclaim/i);
});
