import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import { findProgram, isExecutable } from '../find-program.ts';
import type { FileServer } from './args.ts';

/** What every refusal of this tier ends with. */
export const INSTALL =
  'scripts/setup.sh installs what the vm tier needs; `glovebox doctor` says what is missing.';

/** Where the setup script unpacks a virtiofsd of a newer Debian, with the libraries it was made for. */
const UNPACKED = '/usr/local/lib/glovebox/virtiofsd';

const SERVER = {
  name: 'virtiofsd',
  title: 'virtiofsd',
  variable: 'GLOVEBOX_VIRTIOFSD',
  usualPlaces: ['/usr/libexec/virtiofsd', '/usr/lib/virtiofsd'],
} as const;

/**
 * Where QEMU is: `GLOVEBOX_QEMU`, the usual place, then the PATH.
 *
 * @throws E_TIER_UNAVAILABLE
 */
export function findQemu(env: NodeJS.ProcessEnv, workspace: string): string {
  const name = process.arch === 'arm64' ? 'qemu-system-aarch64' : 'qemu-system-x86_64';
  const program = {
    name,
    title: `QEMU (${name})`,
    variable: 'GLOVEBOX_QEMU',
    usualPlaces: [`/usr/bin/${name}`],
  };
  const found = findProgram(program, env, workspace);
  if ('path' in found) return found.path;
  throw new GloveboxError('E_TIER_UNAVAILABLE', {
    what: 'the vm tier cannot start',
    why: found.why,
    next: INSTALL,
  });
}

/** Where virtiofsd is; undefined where there is none, and then no machine can share a directory. */
export function findFileServer(env: NodeJS.ProcessEnv, workspace: string): FileServer | undefined {
  const unpacked = path.join(UNPACKED, 'virtiofsd');
  if (env['GLOVEBOX_VIRTIOFSD'] === undefined && isExecutable(unpacked))
    return { program: unpacked, libraries: UNPACKED };
  const found = findProgram(SERVER, env, workspace);
  if (!('path' in found)) return undefined;
  const libraries = path.dirname(found.path);
  // A directory that brings its own C library is one that was unpacked.
  return existsSync(path.join(libraries, 'libc.so.6'))
    ? { program: found.path, libraries }
    : { program: found.path };
}

/**
 * The frequency of the time stamp counter in kHz: what the processor says of itself, which is what the kernel finds within a few per cent. Undefined
 * where /proc/cpuinfo has no such line.
 */
export function tscKhz(cpuinfo: string = readFileSync('/proc/cpuinfo', 'utf8')): number | undefined {
  const mhz = /^cpu MHz\s*:\s*([\d.]+)$/m.exec(cpuinfo)?.[1];
  const khz = Math.round(Number(mhz) * 1000);
  return Number.isFinite(khz) && khz > 0 ? khz : undefined;
}
