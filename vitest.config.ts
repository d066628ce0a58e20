import { defineConfig } from 'vitest/config';

/** Finds out whether the container tier can be tested here. */
const GUEST = ['test/support/guest-setup.ts'];

// Real sandboxes on two cores, which wait for each other half of the time: a few workers and generous limits.
export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 3,
    projects: [
      { extends: true, test: { name: 'unit', include: ['src/**/*.test.ts'] } },
      { extends: true, test: { name: 'pins', include: ['test/*.test.ts', 'test/pins/**/*.test.ts'] } },
      { extends: true, test: { name: 'gateway', include: ['test/gateway/**/*.test.ts'] } },
      {
        extends: true,
        test: { name: 'integration', include: ['test/integration/**/*.test.ts'], globalSetup: GUEST },
      },
      { extends: true, test: { name: 'attack', include: ['test/attack/**/*.test.ts'], globalSetup: GUEST } },
    ],
  },
});
