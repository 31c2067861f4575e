import { randomUUID } from 'node:crypto';
import { expect, test } from './test';

/** What would do something if it were taken for anything but text. */
const MARKUP = '<img src=x onerror="document.title=`owned`"><script>document.title="owned"</script>';
/** Colours are colours; a title, a link, a cleared screen and a bell are nothing. */
const SEQUENCES =
  '\u001b]0;owned\u0007\u001b]8;;http://evil.example/\u0007a link\u001b]8;;\u0007\u001b[2J\u001b[31mred\u001b[0m\u0007';

test('what others wrote stays text on every page', async ({ admin, platform, source }) => {
  const folder = source({
    Dockerfile: [
      'FROM coracle-test:1',
      `LABEL story='${MARKUP}'`,
      'COPY words /words',
      'RUN /bin/busybox cat /words',
      'CMD ["/bin/sh", "-c", "cat /words; exec /bin/serve"]',
    ].join('\n'),
    // New each time: what the builder knows already it does not run, and says nothing of it.
    words: `${randomUUID()}\n${MARKUP}\n${SEQUENCES}\nthe end of the words\n`,
    'coracle.toml': `[env]\nSTORY = '${MARKUP}'\n`,
  });
  await platform.coracle('deploy', folder, '--app', 'hostile');
  const pages = [
    '/projects/default/apps/hostile',
    '/projects/default/apps/hostile/logs',
    '/projects/default/apps/hostile/builds/b1',
    '/projects/default/apps/hostile/env',
    '/projects/default/apps/hostile/releases',
    '/projects/default/apps/hostile/processes',
    '/repositories/default/hostile?ref=b1',
    '/activity',
  ];
  for (const path of pages) {
    await admin.goto(path);
    await expect(admin.getByRole('heading', { level: 1 })).toBeVisible();
    await expect(admin.getByRole('status', { name: 'Loading' })).toHaveCount(0);
    expect(await admin.title(), path).not.toContain('owned');
    expect(await admin.locator('img[src=x], a[href*="evil.example"]').count(), path).toBe(0);
  }
  for (const path of ['/projects/default/apps/hostile/logs', '/projects/default/apps/hostile/builds/b1']) {
    await admin.goto(path);
    const log = admin.getByRole('log');
    await expect(log).toContainText('the end of the words');
    await expect(log).toContainText('<script>document.title="owned"</script>');
    await expect(log).toContainText('a link');
    await expect(log).not.toContainText('evil.example');
    await expect(log).not.toContainText('[31m');
  }
  await admin.goto('/repositories/default/hostile?ref=b1');
  await expect(admin.getByRole('main')).toContainText('onerror');
});

test('a name in an address that cannot be one is an error on the page and nothing else', async ({ admin }) => {
  for (const path of [
    '/projects/default/apps/%3Cscript%3E',
    '/projects/..%2F..%2Fetc/pods/x',
    '/nodes/%00',
    '/repositories/%2e%2e/x',
  ]) {
    await admin.goto(path);
    await expect(admin.getByRole('main')).toBeVisible();
    await expect(admin.locator('script:not([src])')).toHaveCount(0);
  }
});
