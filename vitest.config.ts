import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Finds out whether the container tier can be tested here. */
const GUEST = ['test/support/guest-setup.ts'];

/** A minute and more each where machines are emulated. Begun last, one of them would run alone while the other workers have nothing left. */
const LONG = /\/integration\/(?:vm[a-z-]*|examples|image-build|review|code-run|faults|hundred)\.test\.ts$/;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification): boolean => LONG.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

// Real sandboxes on two cores, which wait for each other half of the time: a few workers and generous limits.
export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
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
