import { execFile } from 'node:child_process';
import { constants, accessSync } from 'node:fs';
import { promisify } from 'node:util';
import { GloveboxError } from '../../base/errors.ts';
import { findProgram, type HostProgram } from '../find-program.ts';

/**
 * The first release that describes its devices by ACPI: older ones name them on the kernel's command line, where a driver that is a
 * module does not look (Firecracker, CHANGELOG.md, 1.8.0).
 */
export const MINIMUM_VERSION = '1.8';

const FIRECRACKER: HostProgram = {
  name: 'firecracker',
  title: 'Firecracker',
  variable: 'GLOVEBOX_FIRECRACKER',
  usualPlaces: ['/usr/bin/firecracker', '/usr/local/bin/firecracker'],
};

/** No distribution that we know has a package of it. */
const INSTALL =
  'Put a release of Firecracker in the PATH or name it in GLOVEBOX_FIRECRACKER; `driver: qemu` needs neither it nor /dev/kvm.';

export const KVM = '/dev/kvm';

/** To say its version. */
const VERSION_MS = 5_000;
const VERSION_BYTES = 16 * 1024;

export interface Firecracker {
  readonly path: string;
  /** `1.10.1`. */
  readonly version: string;
}

/**
 * Firecracker on this machine: `GLOVEBOX_FIRECRACKER`, the usual places, then the PATH; new enough; and a /dev/kvm that opens. That KVM
 * then runs a machine only a boot can tell.
 *
 * @throws E_TIER_UNAVAILABLE
 */
export async function findFirecracker(
  env: NodeJS.ProcessEnv,
  workspace: string,
  kvm: string = KVM,
): Promise<Firecracker> {
  const found = findProgram(FIRECRACKER, env, workspace);
  if ('why' in found) throw unavailable(found.why, INSTALL);
  const version = await versionOf(found.path);
  try {
    accessSync(kvm, constants.R_OK | constants.W_OK);
  } catch {
    throw unavailable(
      `${kvm} is not there or not yours to open, and Firecracker runs on KVM alone`,
      'Run on a machine with KVM, as a member of the group kvm; or take `driver: qemu`.',
    );
  }
  return { path: found.path, version };
}

async function versionOf(program: string): Promise<string> {
  const version = parseVersion(await versionText(program));
  if (version === undefined) throw unavailable(`${program} is not Firecracker`, INSTALL);
  if (!isRecent(version))
    throw unavailable(`${program} is ${version}; ${MINIMUM_VERSION} or newer is needed`, INSTALL);
  return version;
}

/** What `firecracker --version` says on its first line: `Firecracker v1.10.1`. */
export function parseVersion(text: string): string | undefined {
  return /^Firecracker v(\d{1,4}\.\d{1,4}\.\d{1,4})(?:\s|-|$)/.exec(text)?.[1];
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [leastMajor = 0, leastMinor = 0] = MINIMUM_VERSION.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}

async function versionText(program: string): Promise<string> {
  try {
    const options = { timeout: VERSION_MS, maxBuffer: VERSION_BYTES, env: {} };
    return (await promisify(execFile)(program, ['--version'], options)).stdout;
  } catch {
    return '';
  }
}

function unavailable(why: string, next: string): GloveboxError {
  return new GloveboxError('E_TIER_UNAVAILABLE', {
    what: 'the vm tier cannot start with driver firecracker',
    why,
    next,
  });
}

/** What somebody says who wants a driver that nobody has seen at work: `GLOVEBOX_UNVERIFIED=firecracker`. */
const CONSENT = 'GLOVEBOX_UNVERIFIED';

/**
 * Where Firecracker itself could start. Everything of the driver is tested without it, and nobody has seen a machine boot: so it is refused until
 * somebody asks for just that.
 *
 * @throws E_TIER_UNAVAILABLE
 */
export function requireConsent({ path, version }: Firecracker, env: NodeJS.ProcessEnv): void {
  if (env[CONSENT] === 'firecracker') return;
  throw unavailable(
    `${path} (${version}) is there, and the driver is unverified: nobody has run it on a real Firecracker`,
    `Take \`driver: qemu\`, which is the default. To try it all the same set ${CONSENT}=firecracker.`,
  );
}
