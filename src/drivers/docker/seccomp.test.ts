import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileSeccomp } from '../seccomp/compile.ts';
import { interpret } from '../seccomp/interpreter.fixture.ts';
import { SYSCALL_NUMBERS, type SyscallName } from '../seccomp/numbers.ts';
import type { SeccompOptions } from '../seccomp/rules.ts';
import { AUDIT_ARCH } from '../seccomp/table.ts';
import { profileRules, profileText } from './seccomp.ts';

const ALL: readonly SeccompOptions[] = (['x64', 'arm64'] as const).flatMap((arch) =>
  (['default', 'strict', 'debug'] as const).flatMap((profile) =>
    [false, true].map((nesting) => ({ arch, profile, nesting })),
  ),
);
const title = ({ arch, profile, nesting }: SeccompOptions): string =>
  `${arch} ${profile}${nesting ? ' nesting' : ''}`;

const ALLOWED = 0x7fff_0000;

interface TextRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args: readonly {
    readonly index: number;
    readonly value: string;
    readonly valueTwo: string;
    readonly op: string;
  }[];
}

/** Reads the profile as an engine does: 64-bit numbers keep all their digits. */
function readProfile(text: string): {
  readonly defaultAction: string;
  readonly syscalls: readonly TextRule[];
} {
  const exact = text.replaceAll(/"(value|valueTwo)":(\d+)/g, '"$1":"$2"');
  return JSON.parse(exact) as ReturnType<typeof readProfile>;
}

/** What libseccomp makes of the rules: the first that holds decides, else the default (seccomp_rule_add(3)). */
function verdict(rules: readonly TextRule[], args: readonly bigint[]): boolean {
  return rules.some(
    (rule) =>
      rule.action === 'SCMP_ACT_ALLOW' &&
      rule.args.every(
        ({ index, value, valueTwo, op }) =>
          op === 'SCMP_CMP_MASKED_EQ' && ((args[index] ?? 0n) & BigInt(value)) === BigInt(valueTwo),
      ),
  );
}

/** Values at which some rule changes its mind. */
const EDGES = [
  0, 1, 2, 3, 4, 5, 7, 10, 13, 16, 17, 35, 47, 53, 56, 63, 0x5411, 0x5412, 0x5413, 0x541c, 0x541d, 0x5423,
  0o100, 0o755, 0o2755, 0o4755, 0o100644, 0o060644, 0o010644, 0o020000, 0o20000000, 0x200, 0x400, 0x4000,
  0x4_0000, 0x1000_0000, 0x7e02_0000, 0x3d0f00, 0x5361_6d61, 0x8_0001, 0x8_0003, 0xffff_ffff,
].map(BigInt);
const argument = fc.oneof(
  fc.constantFrom(...EDGES),
  fc.constantFrom(...EDGES).map((value) => value | (1n << 32n)),
  fc.bigInt(0n, (1n << 64n) - 1n),
);
const six = fc.tuple(argument, argument, argument, argument, argument, argument);

const OWN_NETWORK = 0x5000_0000n;
const isSetup = (name: string, [first = 0n, , third = 0n]: readonly bigint[]): boolean =>
  (name === 'unshare' && first === OWN_NETWORK) ||
  (name === 'socket' && BigInt.asUintN(32, first) === 16n && BigInt.asUintN(32, third) === 0n);

describe.each(ALL.map((options) => [title(options), options] as const))('profile %s', (_, options) => {
  const profile = readProfile(profileText(options));
  const program = compileSeccomp(options);
  const byName = new Map<string, TextRule[]>();
  for (const rule of profile.syscalls)
    for (const name of rule.names) byName.set(name, [...(byName.get(name) ?? []), rule]);
  const calls = (Object.entries(SYSCALL_NUMBERS) as [SyscallName, readonly [number, number]][]).flatMap(
    ([name, [x64, arm64]]) => {
      const nr = options.arch === 'x64' ? x64 : arm64;
      return nr < 0 ? [] : [{ name, nr }];
    },
  );

  test('lets through what the filter of the other tiers lets through, and no more', () => {
    const differs = (name: string, nr: number, args: readonly bigint[]): boolean => {
      if (isSetup(name, args)) return false;
      const filter = interpret(program, { arch: AUDIT_ARCH[options.arch], nr, args }).value === ALLOWED;
      return verdict(byName.get(name) ?? [], args) !== filter;
    };
    const wrong = calls.flatMap(({ name, nr }) =>
      [0, 1, 2].flatMap((at) =>
        EDGES.filter((value) => differs(name, nr, [0n, 0n, 0n, 0n, 0n, 0n].with(at, value))).map(
          (value) => `${name} argument ${at} ${value}`,
        ),
      ),
    );
    expect(wrong).toEqual([]);
    fc.assert(
      fc.property(fc.constantFrom(...calls), six, ({ name, nr }, args) => !differs(name, nr, args)),
      { numRuns: 3000 },
    );
  });

  test('refuses by default, and names no second architecture', () => {
    const text = profileText(options);
    expect(profile.defaultAction).toBe('SCMP_ACT_ERRNO');
    expect(text.match(/SCMP_ARCH_\w+/g)).toHaveLength(1);
    expect(text).not.toMatch(/SCMP_ACT_(?:LOG|TRACE|NOTIFY)/);
  });

  test('compares an argument once in a rule: libseccomp takes no more', () => {
    for (const { allow } of profileRules(options))
      for (const way of allow) expect(new Set(way.map(({ index }) => index)).size).toBe(way.length);
  });
});

test('the agent may make its namespaces, and exactly those', () => {
  const rules = readProfile(profileText({ arch: 'x64', profile: 'strict', nesting: false })).syscalls;
  const unshare = rules.filter(({ names }) => names.includes('unshare'));
  expect(verdict(unshare, [OWN_NETWORK])).toBe(true);
  for (const flags of [
    0x1000_0000n,
    0x4000_0000n,
    0x7e02_0000n,
    OWN_NETWORK | (1n << 32n),
    OWN_NETWORK | 0x2_0000n,
  ])
    expect(verdict(unshare, [flags]), flags.toString(16)).toBe(false);
});
