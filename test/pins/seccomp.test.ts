import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { filterName } from '../../src/drivers/seccomp-program.ts';
import { compileSeccomp } from '../../src/drivers/seccomp/index.ts';
import type { SeccompOptions } from '../../src/drivers/seccomp/rules.ts';

const BUILT = path.resolve(import.meta.dirname, '../../dist/seccomp');

const OPTIONS: readonly SeccompOptions[] = (['x64', 'arm64'] as const).flatMap((arch) => {
  const commands = (['default', 'strict', 'debug'] as const).flatMap((profile) =>
    [false, true].map((nesting) => ({ arch, profile, nesting })),
  );
  const guests = commands.map((options) => ({ ...options, place: 'guest' as const }));
  return [
    ...commands,
    ...guests,
    { arch, profile: 'default', nesting: true, place: 'runtime' },
    { arch, profile: 'default', nesting: false, place: 'recipe' },
  ];
});

it('there is a built filter for every combination, and no other', () => {
  expect(readdirSync(BUILT).sort()).toEqual(OPTIONS.map(filterName).sort());
});

it.each(OPTIONS)(
  'the built filter of $arch $profile nesting=$nesting place=$place is what the tables say now',
  (options) => {
    const built = readFileSync(path.join(BUILT, filterName(options)));
    expect(built.equals(compileSeccomp(options))).toBe(true);
    expect(built.length % 8).toBe(0);
  },
);
