import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds the platform's API. */
const platform = process.env.CORACLE_URL ?? 'http://127.0.0.1:7070';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2022',
    // `light-dark()` stays as it is: what it would be rewritten to does not follow Mantine's colour scheme.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // Inlined files would be `data:` URLs, which the Content-Security-Policy refuses for fonts and workers.
    assetsInlineLimit: 0,
    // What others wrote stands beside it under their licences, as these ask for.
    license: { fileName: 'licenses.md' },
    // The initial page loads no code that only a later page needs.
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
  },
  server: {
    proxy: Object.fromEntries(
      // The API answers a request with the session's cookie only where the page is its own, so the Host stays.
      ['/api', '/v2', '/healthz', '/readyz'].map((path) => [path, { target: platform, changeOrigin: false, ws: true }]),
    ),
  },
  test: { environment: 'node', include: ['src/**/*.test.ts'] },
});
