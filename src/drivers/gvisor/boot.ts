import type { AirlockSpec, BootSpec, ResourceLimit } from '../../agent/contract.ts';
import { GloveboxError } from '../../base/errors.ts';
import { bootSpec, jailSpec, listenerSpecs, type AirlockInput, type BootInput } from '../bubblewrap/spec.ts';
import { RLIMIT } from '../limits/rlimits.ts';
import { RELAY_PATH } from '../inspection.ts';
import { CHANNEL, jailArgs, runtimeArgs, type JailInput } from './args.ts';
import { JAIL } from './layout.ts';
import { ociSpec } from './spec.ts';

/** What the runtime is started with, besides what every jail is. */
export interface ContainerInput extends AirlockInput, Pick<JailInput, 'runsc' | 'platform'> {
  /** Most descriptors of a process inside. */
  readonly files: number;
}

/** What the airlock does for a jail around a guest kernel. Its own network namespace stays empty. Pure. */
export function containerSpec(input: ContainerInput): Omit<AirlockSpec, 'parentPid'> {
  const base = jailSpec(input, jailArgs(input));
  const config = {
    name: `${JAIL.bundle.slice(1)}/config.json`,
    mode: 0o444,
    content: JSON.stringify(ociSpec(input)),
  };
  return { ...base, files: [...(base.files ?? []), config], network: false };
}

/**
 * What the jail's own agent does: it checks the masks where the jail has them, and starts the runtime with the capabilities of the
 * jail's user namespace. Landlock is left out, because it forbids every mount. Pure.
 */
export function jailBoot(
  input: BootInput,
  { platform, seccomp }: Pick<JailInput, 'platform'> & { readonly seccomp: Uint8Array },
): BootSpec {
  const { verify = [], identities = [] } = bootSpec(input);
  return {
    mode: 'oneshot',
    verify: verify.map((one) => ({ ...one, path: inView(one.path) })),
    identities: identities.map((one) => ({ ...one, path: inView(one.path) })),
    seccomp,
    keepCapabilities: true,
    exec: {
      argv: runtimeArgs({ platform }),
      env: {},
      cwd: '/',
      stdio: ['null', 'null', 'inherit'],
      channel: CHANNEL,
    },
  };
}

/** What the guest's agent does. The guest has no Landlock; its mounts are the jail's, and checked there. Pure. */
export function guestBoot(input: BootInput): BootSpec {
  const { plan, seccomp, limits, exec } = input;
  if (exec?.stdio?.includes('inherit') === true) {
    throw new GloveboxError('E_INTERNAL', { what: 'a guest kernel cannot inherit descriptors of the host' });
  }
  const { uid, gid } = plan.identity;
  const base = {
    seccomp,
    limits,
    guest: { identity: { uid, gid }, relay: { path: RELAY_PATH, listeners: listenerSpecs(plan) } },
  };
  return exec === undefined ? { ...base, mode: 'serve' } : { ...base, mode: 'oneshot', exec };
}

/** Most descriptors that a process inside may have: the limit of its commands, or what Linux itself allows by default. */
export function filesLimit(limits: readonly ResourceLimit[]): number {
  const found = limits.find(({ resource }) => resource === RLIMIT.NOFILE)?.hard;
  // The agent has a connection of its own for each of the sandbox's, and is bound by this too.
  return Math.max(Number(found ?? MOST_FILES), AGENT_FILES);
}

const MOST_FILES = 1024 * 1024;
const AGENT_FILES = 4096;

const inView = (path: string | Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(JAIL.view), Buffer.from(path)]);
