import type {
  AirlockReady,
  AirlockSpec,
  BootSpec,
  ExecSpec,
  LandlockRule,
  ListenerSpec,
  MaskOp,
  ResourceLimit,
  ScratchFile,
  VerifyIdentity,
  VerifyMask,
} from '../../agent/contract.ts';
import { pathToBytes, relativeInside } from '../../base/path-bytes.ts';
import type { Mask, Mount, Plan } from '../contract.ts';
import { verifyEntries } from '../masks.ts';
import { bubblewrapArgs, scratchName } from './args.ts';
import { assemble } from './assembly.ts';

export interface AirlockInput {
  readonly plan: Plan;
  /** The agent binary on the host. */
  readonly agent: string;
  readonly bubblewrap: string;
  /** Directory the airlock mounts its private files on. */
  readonly scratch: string;
  /** Files of the control groups to join. */
  readonly cgroups: readonly string[];
}

/** What the airlock does for a plan. Pure. */
export function airlockSpec(input: AirlockInput): Omit<AirlockSpec, 'parentPid'> {
  return {
    ...jailSpec(input, bubblewrapArgs(input)),
    network: true,
    listeners: listenerSpecs(input.plan),
  };
}

/** What the airlock does for a jail of any tier: bubblewrap's words are the tier's own. */
export function jailSpec(
  { plan, scratch, bubblewrap, cgroups }: AirlockInput,
  [, ...args]: readonly string[],
): Omit<AirlockSpec, 'parentPid' | 'network'> {
  const assembly = assemble(plan);
  return {
    cgroups,
    scratch,
    files: [...assembly.files, ...assembly.mounts.flatMap(scratchFile)],
    assembled: assembly.entries,
    masks: plan.masks.map(maskOp),
    argv: [bubblewrap, ...args],
    env: {},
  };
}

/** The plan's listeners, as the agent opens them. */
export function listenerSpecs(plan: Plan): readonly ListenerSpec[] {
  return plan.network.listeners.map((one) => ({ id: one.id, proto: one.transport, port: one.port }));
}

/** What a mount needs in the scratch directory. */
export function scratchFile(mount: Mount): readonly ScratchFile[] {
  return mount.kind === 'file'
    ? [{ name: scratchName(mount.target), mode: 0o444, content: mount.content }]
    : [];
}

/** A mask, as the airlock takes it. */
export function maskOp(mask: Mask): MaskOp {
  return {
    kind: mask.kind,
    root: mask.root,
    path: pathToBytes(relativeInside(mask.path, mask.root)),
    expect: mask.type,
    // A placeholder's parents may come and go; everything else was there a moment ago.
    missing: mask.kind === 'pin' ? 'skip' : 'fail',
    cover: mask.dotFile === true ? 'dot' : mask.deny ? 'hidden' : 'empty',
  };
}

export interface BootInput {
  readonly plan: Plan;
  readonly seccomp: Uint8Array;
  readonly limits: readonly ResourceLimit[];
  /** The shared trees as they were when the plan was made. */
  readonly identities: readonly VerifyIdentity[];
  /** What became of each placeholder, by index into the plan's masks. */
  readonly placeholders: AirlockReady['placeholders'];
  /** Present: run this and end. Absent: serve. */
  readonly exec?: ExecSpec;
}

/** What the inside stage does for a plan. Pure. */
export function bootSpec(input: BootInput): BootSpec {
  const base = {
    identities: input.identities,
    verify: verifyEntries(input.plan, absentMasks(input)).map(verifyMask),
    landlock: { mode: 'best-effort' as const, rules: landlockRules(input.plan) },
    seccomp: input.seccomp,
    limits: input.limits,
  };
  return input.exec === undefined
    ? { ...base, mode: 'serve' }
    : { ...base, mode: 'oneshot', exec: input.exec };
}

/** Placeholders that were not made: nobody could create the path, or something stands in its way and is held instead. */
function absentMasks(input: BootInput): ReadonlySet<string> {
  const results = [...input.placeholders].filter(
    ([, result]) => result === 'skipped' || result === 'blocked',
  );
  return new Set(results.flatMap(([index]) => input.plan.masks[index]?.path ?? []));
}

/** A placeholder's path may turn out to hold something real: then it is frozen or hidden, which is checked as such. */
const VERIFY_KIND = {
  hide: 'hidden',
  readonly: 'readonly',
  pin: 'pinned',
  placeholder: 'placeholder',
} as const;

function verifyMask(entry: { readonly path: string; readonly kind: Mask['kind'] }): VerifyMask {
  return { kind: VERIFY_KIND[entry.kind], path: pathToBytes(entry.path) };
}

/** LANDLOCK_ACCESS_FS_* (landlock(7)): look and execute. */
const READ = (1n << 0n) | (1n << 2n) | (1n << 3n);
/** Everything but making device nodes: write, remove, make, rename across directories, truncate, device ioctl. */
const WRITE = READ | 0xf7b2n;
/** Write to an existing file. */
const WRITE_FILE = 1n << 1n;

/**
 * Landlock repeats what the mounts say, in another part of the kernel: read everywhere in the view, write in the
 * writable trees. It also stops what mounts cannot: reopening an inherited descriptor through /proc/self/fd.
 */
function landlockRules(plan: Plan): readonly LandlockRule[] {
  const rules: LandlockRule[] = [{ path: '/', access: READ }];
  for (const tree of plan.writable) rules.push({ path: pathToBytes(tree), access: WRITE, optional: true });
  // Nested namespaces write their own id maps.
  if (plan.syscalls.nesting) rules.push({ path: '/proc', access: READ | WRITE_FILE });
  return rules;
}
