import base from './playwright.config';

/** `bench/run dashboard`: figures, no judgement. */
export default { ...base, testMatch: 'bench.ts', workers: 1, retries: 0, use: { ...base.use, trace: 'off' as const } };
