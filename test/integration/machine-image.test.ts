import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { locateAgent } from '../../src/agent/locate.ts';
import { hostSystem } from '../../src/drivers/view.ts';
import { MachineCache } from '../../src/machine/cache/cache.ts';
import type { MachineLease } from '../../src/machine/cache/leases.ts';
import { ensureInitrd, ensureKernel, prepareGuest, type GuestInput } from '../../src/machine/guest.ts';
import { findKernel } from '../../src/machine/kernel/find.ts';
import { ensureRoot, type RootInput } from '../../src/machine/root/root.ts';
import { needsProgram } from '../support/attack.ts';
import { smallRootfs } from '../support/rootfs.ts';

/** Why a kernel for guests cannot be looked at here. */
function noKernel(): string | undefined {
  try {
    findKernel();
    return needsProgram('lz4');
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const kernelMissing = noKernel();
const toolsMissing = needsProgram('mkfs.erofs') ?? needsProgram('bwrap');

let dir: string;
let cache: MachineCache;
let lease: MachineLease;
const said: string[] = [];
beforeEach(() => {
  dir = mkdtempSync('/var/tmp/gb-guest-');
  cache = new MachineCache(path.join(dir, 'cache'));
  lease = cache.lease();
  said.length = 0;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** The same small system for all of a test. */
function baseSystem(): string {
  const base = path.join(dir, 'base');
  return existsSync(base) ? base : smallRootfs(base);
}

const rootInput = (more: Partial<RootInput> = {}): RootInput => ({
  cache,
  lease,
  root: { kind: 'tree', root: baseSystem(), label: 'a small system' },
  bubblewrap: '/usr/bin/bwrap',
  env: process.env,
  progress: (line) => void said.push(line),
  ...more,
});

const guestInput = (): GuestInput => ({
  ...rootInput(),
  kernel: findKernel(),
  agent: locateAgent(),
  features: ['network', 'share'],
});

/** Names and modes of a newc archive, in order. */
function entriesOf(
  archive: Buffer,
): readonly { readonly name: string; readonly mode: number; readonly content: Buffer }[] {
  const found = [];
  for (let at = 0; ;) {
    const field = (index: number): number =>
      Number.parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
    const name = archive.toString('latin1', at + 110, at + 110 + field(11) - 1);
    if (name === 'TRAILER!!!') return found;
    const start = Math.ceil((at + 110 + field(11)) / 4) * 4;
    found.push({ name, mode: field(1), content: archive.subarray(start, start + field(6)) });
    at = Math.ceil((start + field(6)) / 4) * 4;
  }
}

/** What an erofs image says of a path. */
const inside = (image: string, file: string): string =>
  spawnSync('dump.erofs', [`--path=${file}`, '--ls', image], { encoding: 'utf8' }).stdout;

describe.skipIf(kernelMissing !== undefined)(
  `Debian's kernel for guests${kernelMissing ? ` (${kernelMissing})` : ''}`,
  () => {
    it.runIf(process.arch === 'x64')(
      'is cut out of its bzImage, once, with the note that PVH starts by',
      async () => {
        const kernel = findKernel();
        const made = await ensureKernel({ cache, lease, kernel });
        const notes = execFileSync('readelf', ['-n', made.file], { encoding: 'utf8', maxBuffer: 1 << 24 });
        expect(notes).toContain('Xen');
        expect(made.bytes).toBeGreaterThan(statSync(kernel.file).size);
        const { mtimeMs } = statSync(made.file);
        expect(await ensureKernel({ cache, lease, kernel })).toEqual(made);
        expect(statSync(made.file).mtimeMs).toBe(mtimeMs);
      },
    );

    it('gives a RAM disk with the agent as its first process, and its modules in load order', async () => {
      const { file } = await ensureInitrd(guestInput());
      const entries = entriesOf(readFileSync(file));
      const init = entries.find(({ name }) => name === 'init');
      expect(init?.mode).toBe(0o100755);
      expect(init?.content.equals(readFileSync(locateAgent()))).toBe(true);
      const order =
        entries
          .find(({ name }) => name === 'modules')
          ?.content.toString('latin1')
          .trim()
          .split('\n') ?? [];
      const archived = entries.map(({ name }) => `/${name}`).filter((name) => name.endsWith('.ko'));
      expect(order).toEqual(archived);
      for (const [first, then] of [
        ['virtio_mmio', 'virtio_blk'],
        ['erofs', 'overlay'],
        ['net_failover', 'virtio_net'],
      ])
        expect(order.indexOf(`/lib/modules/${first}.ko`)).toBeLessThan(
          order.indexOf(`/lib/modules/${then}.ko`),
        );
      const bare = await ensureInitrd({ ...guestInput(), features: [] });
      expect(bare.bytes).toBeLessThan(statSync(file).size);
      expect(entriesOf(readFileSync(bare.file)).some(({ name }) => name.includes('virtio_net'))).toBe(false);
    });

    it.skipIf(toolsMissing !== undefined)(
      'makes the same system for two at once, and none of it twice',
      async () => {
        const input = guestInput();
        const other = new MachineCache(path.join(dir, 'cache'));
        const both = await Promise.all([
          prepareGuest(input),
          prepareGuest({ ...input, cache: other, lease: other.lease() }),
        ]);
        expect(both[0]).toEqual(both[1]);
        expect(readdirSync(path.join(dir, 'cache/entries'))).toHaveLength(3);
        expect(said.filter((line) => line.startsWith('building'))).toHaveLength(1);
        expect(readdirSync(path.join(dir, 'cache/tmp'))).toEqual([]);
      },
    );

    it('is made anew when its file was cut, and refused when the kernel itself was', async () => {
      const kernel = findKernel();
      const made = await ensureKernel({ cache, lease, kernel });
      rmSync(made.file);
      writeFileSync(made.file, 'cut');
      expect((await ensureKernel({ cache, lease, kernel })).sha256).toBe(made.sha256);
      const cut = path.join(dir, 'vmlinuz');
      writeFileSync(cut, readFileSync(kernel.file).subarray(0, 1_000_000));
      const named = { GLOVEBOX_KERNEL: cut, GLOVEBOX_MODULES: kernel.modules };
      expect(() => findKernel(named)).toThrow(
        expect.objectContaining({ context: { problem: 'kernel-damaged' } }),
      );
      // Cut between the two looks.
      await expect(ensureKernel({ cache, lease, kernel: { ...kernel, file: cut } })).rejects.toMatchObject({
        code: 'E_TIER_UNAVAILABLE',
        context: { problem: 'kernel-damaged' },
      });
    });
  },
);

describe.skipIf(toolsMissing !== undefined)(
  `the root of guests${toolsMissing ? ` (${toolsMissing})` : ''}`,
  () => {
    it('holds the base system, whole, as the property of nobody inside', async () => {
      const input = rootInput();
      const { file } = await ensureRoot(input);
      expect(spawnSync('fsck.erofs', [file], { encoding: 'utf8' }).status).toBe(0);
      expect(inside(file, '/etc/marker')).toMatch(/Uid: 0 +Gid: 0/);
      expect(inside(file, '/etc')).not.toContain('shadow');
      expect(inside(file, '/')).not.toMatch(/ (?:proc|tmp|dev)$/m);
      const out = path.join(dir, 'out');
      mkdirSync(out);
      expect(spawnSync('fsck.erofs', [`--extract=${out}`, '--no-preserve-owner', file]).status).toBe(0);
      expect(readFileSync(path.join(out, 'etc/marker'), 'utf8')).toBe('from the image\n');
      expect(readFileSync(path.join(out, 'usr/bin/bash')).equals(readFileSync('/bin/bash'))).toBe(true);
      expect(said[0]).toMatch(/^building the guest's root from a small system, once: \d+ files/);
    });

    it('is made anew once for each content of a directory, and the old one goes', async () => {
      const input = rootInput();
      const first = await ensureRoot(input);
      expect(await ensureRoot(input)).toEqual(first);
      lease.release();
      writeFileSync(path.join(dir, 'base/etc/marker'), 'changed\n');
      const second = await ensureRoot({ ...input, lease: cache.lease() });
      expect(second.file).not.toBe(first.file);
      expect(readdirSync(path.join(dir, 'cache/entries'))).toEqual([
        path.basename(path.dirname(second.file)),
      ]);
    });

    it('of the host is what the other tiers show: here of /etc alone', async () => {
      const system = hostSystem().filter((fact) => fact.link !== undefined || fact.path.startsWith('/etc/'));
      const { file } = await ensureRoot(rootInput({ root: { kind: 'host', system, hidden: [] } }));
      const etc = inside(file, '/etc');
      expect(etc).toContain('os-release');
      expect(etc).not.toMatch(/shadow|passwd|hostname|ssh/);
      expect(inside(file, '/')).not.toMatch(/ (?:home|root|var)$/m);
    });

    it('says what is missing, what failed, and leaves nothing', async () => {
      const none = rootInput({ env: { GLOVEBOX_MKFS_EROFS: '/no/such/mkfs' } });
      await expect(ensureRoot(none)).rejects.toMatchObject({
        code: 'E_TIER_UNAVAILABLE',
        why: expect.stringContaining('/no/such/mkfs') as unknown,
        next: expect.stringContaining('erofs-utils') as unknown,
        context: { problem: 'program-missing' },
      });
      await expect(ensureRoot({ ...none, env: { GLOVEBOX_MKFS_EROFS: '/bin/false' } })).rejects.toMatchObject(
        {
          why: expect.stringContaining('exit code 1') as unknown,
          context: { problem: 'build-failed' },
        },
      );
      for (const part of ['entries', 'tmp', 'locks'])
        expect(readdirSync(path.join(dir, 'cache', part))).toEqual([]);
    });

    it.each([0, 1, 2, 5, 20, 60])(
      'a start that is aborted after %i ms leaves no process and no file',
      async (ms) => {
        const aborting = new AbortController();
        const input = rootInput({ signal: aborting.signal, env: { GLOVEBOX_MKFS_EROFS: slowMkfs() } });
        const making = ensureRoot(input);
        const ended = expect(making).rejects.toMatchObject({ code: 'E_ABORTED' });
        setTimeout(() => aborting.abort(), ms);
        await ended;
        for (const part of ['entries', 'tmp', 'locks'])
          expect(readdirSync(path.join(dir, 'cache', part))).toEqual([]);
        const processes = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
        expect(processes.split('\n').filter((line) => line.includes(dir))).toEqual([]);
      },
    );
  },
);

/** One that would take an hour. */
function slowMkfs(): string {
  const file = path.join(dir, 'mkfs');
  writeFileSync(file, '#!/bin/sh\nexec sleep 3600\n', { mode: 0o755 });
  return file;
}
