import { isGloveboxError } from '../../base/errors.ts';
import { gloveboxDirs } from '../../base/paths.ts';
import { knownAccelerator } from '../../drivers/qemu/accelerator.ts';
import { findFileServer, findQemu } from '../../drivers/qemu/probe.ts';
import { machineCacheDir } from '../../machine/cache/cache.ts';
import { findKernel } from '../../machine/kernel/find.ts';
import { findMkfs } from '../../machine/root/mkfs.ts';
import type { Finding } from './checks.ts';

/** What the vm tier is made from, piece by piece. Without it the other tiers still work. */
export function checkVmParts(env: NodeJS.ProcessEnv): readonly Finding[] {
  return [
    part('vm: kernel', () => {
      const { release, file } = findKernel(env);
      return `${release} at ${file}`;
    }),
    part('vm: root image', () => findMkfs(env)),
    part('vm: QEMU', () => findQemu(env, NOWHERE)),
    fileServer(env),
    part('vm: accelerator', () => accelerator(env)),
  ];
}

/** What a trial boot has found; none is made for this. */
function accelerator(env: NodeJS.ProcessEnv): string {
  const known = knownAccelerator({ env, cacheDir: machineCacheDir(gloveboxDirs(env)) });
  if (known === undefined) return 'not tried yet: the first machine finds out whether KVM works';
  return known.accelerator === 'kvm' ? 'KVM: a guest has booted with it' : `emulated, slower: ${known.why}`;
}

function part(name: string, look: () => string): Finding {
  try {
    return { name, state: 'ok', detail: look() };
  } catch (error) {
    if (!isGloveboxError(error)) throw error;
    return { name, state: 'warn', detail: error.why ?? error.what, fix: error.next.replace(/^Run /, '') };
  }
}

function fileServer(env: NodeJS.ProcessEnv): Finding {
  const name = 'vm: virtiofsd';
  const server = findFileServer(env, NOWHERE);
  if (server !== undefined) return { name, state: 'ok', detail: server.program };
  return {
    name,
    state: 'warn',
    detail: 'not installed: a workspace cannot be shared',
    fix: 'scripts/setup.sh',
  };
}

/** No workspace whose programs would have to be passed over. */
const NOWHERE = '/nonexistent';
