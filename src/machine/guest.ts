import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { GloveboxError } from '../base/errors.ts';
import type { MachineCache } from './cache/cache.ts';
import type { MachineLease } from './cache/leases.ts';
import { rememberedKey } from './cache/memo.ts';
import type { Artefact, GuestFeature, GuestSystem, Kernel, OnProgress, RootSource } from './contract.ts';
import { initrdArchive } from './initrd/initrd.ts';
import { KERNEL_BYTES } from './kernel/find.ts';
import { plainKernel } from './kernel/vmlinux.ts';
import { FEATURE_ORDER, moduleClosure } from './modules/closure.ts';
import { ensureRoot } from './root/root.ts';

export interface GuestInput {
  readonly cache: MachineCache;
  /** What is answered stays in the cache while it lives. */
  readonly lease: MachineLease;
  readonly kernel: Kernel;
  /** The static agent of `src/agent/locate.ts`; it is `/init` of the guest. Absolute. */
  readonly agent: string;
  readonly features: readonly GuestFeature[];
  /** runsc, absolute, when gVisor is to run in the guest: from memory, because a file server is asked for it page by page at each of its five starts. */
  readonly runtime?: string;
  readonly root: RootSource;
  readonly bubblewrap: string;
  readonly env: NodeJS.ProcessEnv;
  readonly progress: OnProgress;
  readonly signal?: AbortSignal;
}

/** Changes with the form of what is made, so that older entries are not taken for it. */
const FORMAT = '1';

/**
 * Everything that a machine boots, made where it is not there yet. When it is all there, this looks at some twenty files and reads none.
 *
 * @throws E_TIER_UNAVAILABLE (see `context.problem`), E_IMAGE_TOO_LARGE, E_IMAGE_SPACE, E_ABORTED, E_IO
 */
export async function prepareGuest(input: GuestInput): Promise<GuestSystem> {
  const { release, arch } = input.kernel;
  // One after the other: the first two take a second, and the root all there is of the machine.
  const kernel = await ensureKernel(input);
  const initrd = await ensureInitrd(input);
  const root = await ensureRoot(input);
  return { release, arch, kernel, initrd, root };
}

/** The kernel as QEMU boots it. @throws as `plainKernel`, E_IO */
export async function ensureKernel({
  cache,
  lease,
  kernel,
}: Pick<GuestInput, 'cache' | 'lease' | 'kernel'>): Promise<Artefact> {
  const keyOf = (bytes: Buffer): string => hashOf('kernel', FORMAT, bytes);
  const key = await rememberedKey(cache.memoDir, `kernel ${FORMAT} ${kernel.file}`, async (read) =>
    keyOf(read(kernel.file)),
  );
  return cache.ensure({ kind: 'kernel', key, slot: `kernel ${kernel.file}` }, lease, async (file) => {
    const bytes = readFileSync(kernel.file);
    if (keyOf(bytes) !== key || bytes.length > KERNEL_BYTES) throw changed(kernel.file);
    writeFileSync(file, await plainKernel(kernel, bytes), { mode: 0o600, flag: 'wx' });
  });
}

/** The initial RAM disk for these features. @throws E_TIER_UNAVAILABLE, E_IO */
export async function ensureInitrd(
  input: Pick<GuestInput, 'cache' | 'lease' | 'kernel' | 'agent' | 'features' | 'runtime'>,
): Promise<Artefact> {
  const { cache, lease, kernel, agent, runtime } = input;
  const features = FEATURE_ORDER.filter((one) => input.features.includes(one));
  const question = ['initrd', FORMAT, kernel.modules, agent, runtime ?? '-', ...features].join(' ');
  const keyOf = (archive: Buffer): string => hashOf('initrd', FORMAT, archive);
  const key = await rememberedKey(cache.memoDir, question, async (read) =>
    keyOf(
      initrdArchive(
        read(agent),
        await moduleClosure(kernel, features, read),
        runtime === undefined ? undefined : read(runtime),
      ),
    ),
  );
  return cache.ensure({ kind: 'initrd', key, slot: question }, lease, async (file) => {
    const modules = await moduleClosure(kernel, features);
    const program = runtime === undefined ? undefined : readFileSync(runtime);
    const archive = initrdArchive(readFileSync(agent), modules, program);
    if (keyOf(archive) !== key) throw changed(agent);
    writeFileSync(file, archive, { mode: 0o600, flag: 'wx' });
  });
}

function hashOf(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length} `).update(part);
  return hash.digest('hex');
}

function changed(file: string): GloveboxError {
  return new GloveboxError('E_IO', {
    what: `${file} changed while it was read`,
    next: 'Run the command again.',
  });
}
