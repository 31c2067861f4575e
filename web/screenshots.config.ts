import base from './playwright.config';

/** `make screenshots`: pictures to look at, no judgement. */
export default {
  ...base,
  testMatch: 'screenshots.ts',
  workers: 1,
  retries: 0,
  timeout: 600_000,
  outputDir: 'test-results/screenshots',
};
