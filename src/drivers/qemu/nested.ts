import type { BootSpec } from '../../agent/contract.ts';
import type { MachineMount } from '../../agent/machine-contract.ts';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import { isWithin } from '../../base/path-bytes.ts';
import { AGENT_PATH } from '../bubblewrap/args.ts';
import type { Plan } from '../contract.ts';
import { CHANNEL, runtimeArgs, type Platform } from '../gvisor/args.ts';
import { GUEST_OWN, JAIL, layoutOf } from '../gvisor/layout.ts';
import { findRunsc, runscVersion, unavailable } from '../gvisor/probe.ts';
import { ociSpec } from '../gvisor/spec.ts';
import { RELAY_PATH } from '../inspection.ts';
import { seccompProgram } from '../seccomp-program.ts';
import { RUNTIME_OPTIONS } from '../seccomp/rules.ts';
import { machineLayout, type LayoutOptions } from './layout.ts';

/** gVisor inside a machine. */
export interface Nested {
  readonly platform: Platform;
  /** Most descriptors of a process inside. */
  readonly files: number;
}

/**
 * gVisor as it stands on the host. systrap needs nothing but what every Linux kernel has, and is the faster one; `GLOVEBOX_GVISOR_PLATFORM` may
 * ask for ptrace.
 *
 * @throws E_TIER_UNAVAILABLE
 */
export function findNested(
  env: NodeJS.ProcessEnv,
  workspace: string,
): Pick<Nested, 'platform'> & { readonly runsc: string } {
  try {
    const runsc = findRunsc(env, workspace);
    runscVersion(runsc);
    return { runsc, platform: platformOf(env['GLOVEBOX_GVISOR_PLATFORM']) };
  } catch (error) {
    if (!isGloveboxError(error) || error.code !== 'E_TIER_UNAVAILABLE') throw error;
    const { why, next } = error;
    const what = 'the vm+gvisor tier cannot start';
    throw new GloveboxError(error.code, { what, ...(why && { why }), ...(next && { next }), cause: error });
  }
}

function platformOf(wanted: string | undefined): Platform {
  if (wanted === undefined || wanted === '' || wanted === 'systrap') return 'systrap';
  if (wanted === 'ptrace') return wanted;
  throw unavailable(
    `GLOVEBOX_GVISOR_PLATFORM is "${wanted}"`,
    'In a machine use systrap or ptrace, or unset it.',
  );
}

/** State of runsc and its sockets, as in the container tier. */
const STATE_BYTES = 16 * 1024 ** 2;

/**
 * The root of the machine's own sandbox, in which the runtime is: as the jail of the container tier, with the plan's view below a directory that
 * is the guest's whole root. Pure.
 */
export function nestedMounts(
  plan: Plan,
  { files }: Pick<Nested, 'files'>,
  layout: LayoutOptions,
): readonly MachineMount[] {
  const { guest } = layoutOf(plan);
  const memory = new Set(guest.flatMap((mount) => (mount.kind === 'tmpfs' ? [mount.target] : [])));
  const config = Buffer.from(JSON.stringify(ociSpec({ plan, files })));
  return [
    { kind: 'proc', target: '/proc' },
    { kind: 'dev', target: '/dev' },
    // runsc builds the file tree that the guest kernel is locked into over it.
    { kind: 'dir', target: '/tmp', mode: 0o755 },
    { kind: 'tmpfs', target: JAIL.state, bytes: STATE_BYTES, mode: 0o700 },
    { kind: 'file', target: `${JAIL.bundle}/config.json`, mode: 0o444, content: config },
    { kind: 'own', source: '/runsc', target: JAIL.runsc },
    ...GUEST_OWN.map((target): MachineMount => ({ kind: 'dir', target: inView(target), mode: 0o555 })),
    ...machineLayout(plan, layout).guest.flatMap((mount) => viewMount(mount, memory)),
    { kind: 'own', source: '/relay.sock', target: inView(RELAY_PATH) },
    // Last, so that no tree of the policy covers it.
    { kind: 'own', source: '/init', target: inView(AGENT_PATH) },
  ];
}

/** A part of the guest's root; nothing where its kernel makes it, and a place to mount on where that is its own memory. */
function viewMount(mount: MachineMount, memory: ReadonlySet<string>): readonly MachineMount[] {
  const inside = Buffer.from(mount.target).toString('latin1');
  if (GUEST_OWN.some((own) => isWithin(inside, own))) return [];
  const target = inView(inside);
  if (mount.kind === 'tmpfs' && memory.has(inside)) return [{ kind: 'dir', target, mode: mount.mode }];
  return [{ ...mount, target }];
}

const inView = (inside: string): string => `${JAIL.view}${inside}`;

/** What the first process of the machine's own sandbox does: it starts the runtime, and carries the channel to and from its guest. */
export async function runtimeBoot(
  { platform }: Pick<Nested, 'platform'>,
  arch: 'x64' | 'arm64',
): Promise<BootSpec> {
  return {
    mode: 'oneshot',
    seccomp: await seccompProgram({ arch, ...RUNTIME_OPTIONS }),
    keepCapabilities: true,
    handChannel: true,
    exec: {
      argv: runtimeArgs({ platform }),
      env: {},
      cwd: '/',
      stdio: ['null', 'null', 'inherit'],
      channel: CHANNEL,
    },
  };
}
