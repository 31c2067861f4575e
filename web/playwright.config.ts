import { defineConfig } from '@playwright/test';

/** End to end: each worker has a platform of its own on the one Docker daemon, so there are few. */
export default defineConfig({
  testDir: 'e2e',
  testMatch: '*.spec.ts',
  workers: 2,
  fullyParallel: false,
  timeout: 120_000,
  expect: { timeout: 20_000 },
  forbidOnly: process.env.CI !== undefined,
  retries: process.env.CI === undefined ? 0 : 1,
  reporter: [['list']],
  use: {
    actionTimeout: 20_000,
    launchOptions: {
      ...(process.env.CORACLE_BROWSER === undefined ? {} : { executablePath: process.env.CORACLE_BROWSER }),
      // Chromium's own sandbox cannot be had as root; everything that it opens here is ours.
      args: ['--no-sandbox'],
    },
    trace: 'retain-on-failure',
    screenshot: 'only-on-failure',
  },
});
