import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { filterName } from '../../src/drivers/seccomp-program.ts';
import { compileSeccomp } from '../../src/drivers/seccomp/index.ts';

const BUILT = path.resolve(import.meta.dirname, '../../dist/seccomp');

const OPTIONS = (['x64', 'arm64'] as const).flatMap((arch) =>
  (['default', 'strict', 'debug'] as const).flatMap((profile) =>
    [false, true].map((nesting) => ({ arch, profile, nesting })),
  ),
);

it('there is a built filter for every combination, and no other', () => {
  expect(readdirSync(BUILT).sort()).toEqual(OPTIONS.map(filterName).sort());
});

it.each(OPTIONS)(
  'the built filter of $arch $profile nesting=$nesting is what the tables say now',
  (options) => {
    const built = readFileSync(path.join(BUILT, filterName(options)));
    expect(built.equals(compileSeccomp(options))).toBe(true);
    expect(built.length % 8).toBe(0);
  },
);
