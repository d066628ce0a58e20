import { ERRNO, type Check, type Span, type Word } from '../seccomp/check.ts';
import type { SyscallName } from '../seccomp/numbers.ts';
import type { SeccompOptions } from '../seccomp/rules.ts';
import { syscallChecks } from '../seccomp/table.ts';

/** A comparison of one 64-bit argument: the bits of `mask` have to be those of `value`. */
export interface MaskedEqual {
  readonly index: number;
  readonly mask: bigint;
  readonly value: bigint;
}

/** One way for a call to be allowed: all comparisons hold. None: always. */
export type Allowance = readonly MaskedEqual[];

/** One call of the profile. */
export interface ProfileRule {
  readonly name: SyscallName;
  readonly allow: readonly Allowance[];
}

/**
 * The profile as rules: what is not allowed by any is refused. A decision tree has an answer for each value; the library that engines
 * use (libseccomp) knows one comparison for each argument and joins rules by "or", so each way to `allow` becomes a rule of its own, and a
 * range of values as many as it takes prefixes. Which number an engine answers a refusal with is not said: the agent installs the very
 * filter of the other tiers over this one, and of two refusals the kernel takes the later filter's number (seccomp(2)). Pure.
 */
export function profileRules(options: SeccompOptions): readonly ProfileRule[] {
  return syscallChecks(options).flatMap(([name, check]) => {
    const allow = [...allowances(check, []), ...(SETUP[name] ?? [])];
    return allow.length === 0 ? [] : [{ name, allow }];
  });
}

/** CLONE_NEWUSER | CLONE_NEWNET of linux/sched.h. */
const OWN_NETWORK = 0x1000_0000n | 0x4000_0000n;

const AF_NETLINK = 16n;
const LOW = 0xffff_ffffn;

/** What the agent needs besides, before it installs the filter of the commands: that has the same answers as in every tier. */
const SETUP: Partial<Record<SyscallName, readonly Allowance[]>> = {
  unshare: [[{ index: 0, mask: (1n << 64n) - 1n, value: OWN_NETWORK }]],
  // Routes of the namespace that it makes; in profile `strict` commands have no such socket.
  socket: [
    [
      { index: 0, mask: LOW, value: AF_NETLINK },
      { index: 2, mask: LOW, value: 0n },
    ],
  ],
};

function allowances(check: Check, held: Allowance): readonly Allowance[] {
  if (check.kind === 'bits') {
    const { word, mask } = check;
    return [
      ...within(held, comparison(word, mask, 0), check.none),
      ...firstBits(mask).flatMap(({ bits, value }) =>
        within(held, comparison(word, bits, value), check.some),
      ),
    ];
  }
  if (check.kind !== 'switch') return check.kind === 'allow' ? [held] : [];
  const { word, mask = LAST, spans, otherwise } = check;
  return intervals(spans, otherwise, mask)
    .filter((span) => span.check.kind !== 'errno')
    .flatMap((span) =>
      prefixes(span, mask).flatMap(({ bits, value }) =>
        within(held, comparison(word, bits, value), span.check),
      ),
    );
}

function within(held: Allowance, more: MaskedEqual, check: Check): readonly Allowance[] {
  const joined = join(held, more);
  return joined === undefined ? [] : allowances(check, joined);
}

/** One comparison for each argument; undefined when the two cannot hold together. */
function join(held: Allowance, more: MaskedEqual): Allowance | undefined {
  if (more.mask === 0n) return held;
  const same = held.find(({ index }) => index === more.index);
  if (same === undefined) return [...held, more];
  const common = same.mask & more.mask;
  if ((same.value & common) !== (more.value & common)) return undefined;
  const joined = { index: more.index, mask: same.mask | more.mask, value: same.value | more.value };
  return held.map((one) => (one === same ? joined : one));
}

function comparison(word: Word, bits: number, value: number): MaskedEqual {
  if (word.of !== 'argument') throw new RangeError('only arguments are compared');
  const shift = word.half === 'high' ? 32n : 0n;
  return { index: word.index, mask: BigInt(bits) << shift, value: BigInt(value) << shift };
}

interface Pattern {
  readonly bits: number;
  readonly value: number;
}

const LAST = 0xffff_ffff;

/** The values of which some bit of the mask is set: its lowest is one of them, and those below are not. */
function firstBits(mask: number): readonly Pattern[] {
  const found: Pattern[] = [];
  let below = 0;
  for (let bit = 0; bit < 32; bit++) {
    const value = 2 ** bit;
    if ((mask & value) === 0) continue;
    found.push({ bits: (below | value) >>> 0, value });
    below = (below | value) >>> 0;
  }
  return found;
}

/** Every value that the mask lets through, in order; what lies between spans has the other check. */
function intervals(spans: readonly Span[], otherwise: Check, mask: number): readonly Span[] {
  const all: Span[] = [];
  let next = 0;
  for (const span of [...spans].sort((one, other) => one.from - other.from)) {
    if (span.from > next) all.push({ from: next, to: span.from - 1, check: otherwise });
    all.push(span);
    next = span.to + 1;
  }
  if (next <= mask) all.push({ from: next, to: mask, check: otherwise });
  return all;
}

/** The fewest patterns that match the values of a span and no others. */
function prefixes({ from, to }: Span, mask: number): readonly Pattern[] {
  // A mask with holes: single values only, of bits that it has.
  if (from === to) return [{ bits: mask, value: from }];
  if ((mask & (mask + 1)) !== 0) return singleValues({ from, to }, mask);
  const found: Pattern[] = [];
  let at = from;
  while (at <= to) {
    let size = 1;
    while (at % (size * 2) === 0 && at + size * 2 - 1 <= to) size *= 2;
    found.push({ bits: (mask - (size - 1)) >>> 0, value: at });
    at += size;
  }
  return found;
}

/** More than this is a check for which rules are the wrong form. */
const MOST_VALUES = 64;

function singleValues({ from, to }: Pick<Span, 'from' | 'to'>, mask: number): readonly Pattern[] {
  const found: Pattern[] = [];
  // The next value with no bit outside of the mask.
  for (let value = (from & mask) >>> 0; value <= to && value <= mask; value = ((value | ~mask) + 1) & mask) {
    if (value >= from) found.push({ bits: mask, value });
    if (found.length > MOST_VALUES) throw new RangeError(`more than ${MOST_VALUES} values of mask ${mask}`);
    if (value === mask) break;
  }
  return found;
}

const ARCHITECTURES = { x64: 'SCMP_ARCH_X86_64', arm64: 'SCMP_ARCH_AARCH64' } as const;

/**
 * The profile in the engines' JSON (moby, profiles/seccomp; containers/common, pkg/seccomp). No other architecture is named: their calls
 * end the process. 64-bit masks go beyond what JSON numbers of JavaScript hold, so the text is put together here. Pure.
 */
export function profileText(options: SeccompOptions): string {
  const rules = profileRules(options).flatMap(({ name, allow }) => allow.map((way) => ruleText(name, way)));
  return `{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":${ERRNO.EPERM},"architectures":["${ARCHITECTURES[options.arch]}"],"syscalls":[
${rules.join(',\n')}
]}
`;
}

function ruleText(name: SyscallName, way: Allowance): string {
  const args = way.map(
    ({ index, mask, value }) =>
      `{"index":${index},"value":${mask},"valueTwo":${value},"op":"SCMP_CMP_MASKED_EQ"}`,
  );
  return `{"names":["${name}"],"action":"SCMP_ACT_ALLOW","args":[${args.join(',')}]}`;
}
