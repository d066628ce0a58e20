import { closeSync, openSync, readdirSync, readSync, fstatSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { printablePath } from '../../base/path-bytes.ts';
import { isDirectory, realPath } from '../../drivers/facts.ts';
import type { Kernel, MachineArch } from '../contract.ts';
import { packingOf } from '../filter.ts';
import { KERNEL_DIR, machineError } from '../problem.ts';
import { parseBzImage, SETUP_BYTES } from './bzimage.ts';
import { elfHeader, isElf } from './elf.ts';

/** Largest kernel file that is read: Debian's are 8 to 60 MB. */
export const KERNEL_BYTES = 256 * 1024 * 1024;

const DEBIAN_ARCH: Readonly<Record<MachineArch, string>> = { x86_64: 'amd64', aarch64: 'arm64' };

/**
 * The kernel that guests boot: the file that `GLOVEBOX_KERNEL` names, else the newest of those that the setup script unpacked, else of
 * Debian's cloud kernels in /boot. Only its header is read.
 *
 * @throws E_TIER_UNAVAILABLE with `context.problem`: `kernel-missing`, `kernel-arch`, `kernel-damaged` or `modules-missing`
 */
export function findKernel(env: NodeJS.ProcessEnv = process.env, places = [KERNEL_DIR, '/']): Kernel {
  const arch = machineArch();
  const named = env['GLOVEBOX_KERNEL'];
  const file = named === undefined || named === '' ? newestIn(places, arch) : path.resolve(named);
  if (file === undefined) throw machineError('kernel-missing', { why: 'there is no kernel for guests' });
  const { head, bytes } = readHead(file);
  const found = inspect({ file, env, arch }, { head, bytes });
  return { file, arch, ...found, modules: modulesOf(file, found.release, env) };
}

/** @throws E_TIER_UNAVAILABLE on other machines */
export function machineArch(): MachineArch {
  if (process.arch === 'x64') return 'x86_64';
  if (process.arch === 'arm64') return 'aarch64';
  throw machineError('kernel-arch', { why: `guests on ${process.arch} are not supported` });
}

function newestIn(places: readonly string[], arch: MachineArch): string | undefined {
  const pattern = new RegExp(`^vmlinuz-.*-cloud-${DEBIAN_ARCH[arch]}$`);
  for (const place of places) {
    const boot = path.join(place, 'boot');
    const newest = listed(boot)
      .filter((name) => pattern.test(name))
      .sort(new Intl.Collator('en', { numeric: true }).compare)
      .at(-1);
    if (newest !== undefined) return path.join(boot, newest);
  }
  return undefined;
}

function listed(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

interface Head {
  readonly head: Buffer;
  readonly bytes: number;
}

function readHead(file: string): Head {
  try {
    const fd = openSync(file, 'r');
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw damaged(file, 'it is no regular file');
      if (stat.size > KERNEL_BYTES) throw damaged(file, `it has more than ${KERNEL_BYTES} bytes`);
      const head = Buffer.alloc(SETUP_BYTES);
      return { head: head.subarray(0, readSync(fd, head, 0, SETUP_BYTES, 0)), bytes: stat.size };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (error instanceof GloveboxError) throw error;
    throw machineError('kernel-missing', {
      why: `${printablePath(file)} cannot be read: ${systemCode(error) ?? String(error)}`,
      cause: error,
    });
  }
}

/** What is wrong with this file as a kernel. */
export function damaged(file: string, why: string): GloveboxError {
  return machineError('kernel-damaged', { why: `${printablePath(file)} is no usable kernel: ${why}` });
}

interface Candidate {
  readonly file: string;
  readonly env: NodeJS.ProcessEnv;
  readonly arch: MachineArch;
}

function inspect(candidate: Candidate, { head, bytes }: Head): Pick<Kernel, 'format' | 'release'> {
  const { file, arch } = candidate;
  const bzImage = parseBzImage(head);
  if (bzImage !== undefined) {
    expectArch(file, bzImage.is64Bit ? 'x86_64' : 'i386', arch);
    if (bzImage.payload.end > bytes) throw damaged(file, 'it is cut short');
    return { format: 'bzimage', release: bzImage.release ?? releaseFromName(candidate) };
  }
  if (isElf(head)) {
    expectArch(file, elfHeader(head)?.arch ?? 'another architecture', arch);
    return { format: 'elf', release: releaseFromName(candidate) };
  }
  const isImage = isArm64Image(head);
  if (isImage) expectArch(file, 'aarch64', arch);
  // What is in a compressed one shows when it is unpacked.
  if (isImage || (arch === 'aarch64' && packingOf(head) === 'gzip'))
    return { format: 'image', release: releaseFromName(candidate) };
  throw damaged(file, 'it is neither a bzImage nor an ELF file nor an Image of arm64');
}

/** Source: Documentation/arch/arm64/booting.rst. */
export function isArm64Image(head: Buffer): boolean {
  return head.toString('latin1', 56, 60) === 'ARM\x64';
}

function expectArch(file: string, found: string, wanted: MachineArch): void {
  if (found === wanted) return;
  throw machineError('kernel-arch', {
    why: `${printablePath(file)} is a kernel for ${found}, and this machine is ${wanted}`,
  });
}

/** Debian puts the release into the name of the file; other formats than bzImage do not say it in their header. */
function releaseFromName({ file, env }: Candidate): string {
  const name = /^(?:vmlinuz|vmlinux|Image|bzImage)-([\w.+~-]{1,64})$/.exec(path.basename(file))?.[1];
  if (name !== undefined) return name;
  const modules = env['GLOVEBOX_MODULES'];
  if (modules !== undefined && modules !== '') return path.basename(path.resolve(modules));
  throw machineError('modules-missing', { why: `${printablePath(file)} does not say its release` });
}

/** Beside the kernel, as packages have it (`boot/vmlinuz-R`, `lib/modules/R`), or one level up. */
function modulesOf(file: string, release: string, env: NodeJS.ProcessEnv): string {
  const named = env['GLOVEBOX_MODULES'];
  if (named !== undefined && named !== '') {
    const dir = path.resolve(named);
    if (isDirectory(dir)) return dir;
    throw machineError('modules-missing', {
      why: `GLOVEBOX_MODULES names ${printablePath(dir)}, which is no directory`,
    });
  }
  const real = realPath(file) ?? file;
  const roots = [file, real].flatMap((one) => [path.dirname(path.dirname(one)), path.dirname(one)]);
  const found = roots
    .flatMap((root) => ['lib/modules', 'usr/lib/modules'].map((below) => path.join(root, below, release)))
    .find(isDirectory);
  if (found !== undefined) return found;
  throw machineError('modules-missing', {
    why: `there is no lib/modules/${release} beside ${printablePath(file)}`,
  });
}
