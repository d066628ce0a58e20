import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GuestFeature, Kernel } from '../contract.ts';
import { moduleFile } from '../kernel/elf.fixture.ts';
import { moduleClosure } from './closure.ts';
import { moduleInfo } from './modinfo.ts';

let dir: string;
let kernel: Kernel;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'gb-modules-'));
  kernel = { file: '/boot/k', format: 'bzimage', arch: 'x86_64', release: '6.1-test', modules: dir };
  mkdirSync(path.join(dir, 'kernel/drivers'), { recursive: true });
  writeFileSync(
    path.join(dir, 'modules.builtin'),
    'kernel/drivers/virtio/virtio_ring.ko\nkernel/x/built-in.ko\n',
  );
  for (const name of ['virtio', 'virtio_mmio', 'virtio_blk', 'libcrc32c', 'overlay', 'fuse']) put(name, []);
  put('virtio_console', ['virtio', 'virtio_ring']);
  put('erofs', ['libcrc32c'], 'softdep=pre: fuse no_such_thing post: overlay\0');
  put('net_failover', ['virtio']);
  put('virtio_net', ['net-failover', 'virtio']);
  put('virtiofs', ['fuse', 'built_in']);
  put('vmw_vsock_virtio_transport', ['vsock', 'virtio']);
  put('vsock', []);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const fileOf = (name: string, end = ''): string =>
  path.join(dir, `kernel/drivers/${name.replaceAll('_', '-')}.ko${end}`);

function put(name: string, depends: readonly string[], more = ''): void {
  writeFileSync(fileOf(name), moduleFile(depends, more));
}

const namesOf = async (...features: readonly GuestFeature[]): Promise<readonly string[]> =>
  (await moduleClosure(kernel, features)).map(({ name }) => name);

const refusal = (problem: string, why: string): object => ({
  code: 'E_TIER_UNAVAILABLE',
  why: expect.stringContaining(why) as unknown,
  context: { problem },
});

describe('moduleClosure', () => {
  it('puts each module after what it needs, once, and leaves out what is built in', async () => {
    const always = [
      'virtio_mmio',
      'virtio',
      'virtio_console',
      'virtio_blk',
      'fuse',
      'libcrc32c',
      'erofs',
      'overlay',
    ];
    expect(await namesOf()).toEqual(always);
    expect(await namesOf('share', 'network')).toEqual([...always, 'net_failover', 'virtio_net', 'virtiofs']);
    expect(await namesOf('vsock')).toEqual([...always, 'vsock', 'vmw_vsock_virtio_transport']);
    expect(await namesOf('network', 'share')).toEqual(await namesOf('share', 'network'));
  });

  it.skipIf(spawnSync('xz', ['--version']).status !== 0)('unpacks modules', async () => {
    const plain = moduleFile(['virtio']);
    rmSync(fileOf('virtio_blk'));
    writeFileSync(fileOf('virtio_blk', '.xz'), spawnSync('xz', ['-c'], { input: plain }).stdout);
    const found = await moduleClosure(kernel, []);
    expect(found.find(({ name }) => name === 'virtio_blk')?.content).toEqual(plain);
  });

  it('names the missing module, and who needs it', async () => {
    rmSync(fileOf('libcrc32c'));
    await expect(namesOf()).rejects.toMatchObject(
      refusal('module-missing', 'has no libcrc32c, which erofs needs'),
    );
    rmSync(fileOf('erofs'));
    await expect(namesOf()).rejects.toMatchObject(
      refusal('module-missing', '6.1-test has no erofs, neither built in'),
    );
  });

  it.each([
    ['empty', Buffer.alloc(0)],
    ['text', Buffer.from('not a module')],
    ['cut', moduleFile(['virtio']).subarray(0, 200)],
    ['packed and damaged', Buffer.from('fd377a585a000102030405', 'hex')],
  ])('refuses a module that is damaged: %s', async (_what, content) => {
    writeFileSync(fileOf('overlay'), content);
    await expect(namesOf()).rejects.toMatchObject(refusal('module-missing', 'overlay.ko is damaged'));
  });

  it('refuses modules that need each other', async () => {
    put('fuse', ['virtiofs']);
    rmSync(fileOf('erofs'));
    put('erofs', []);
    await expect(namesOf('share')).rejects.toMatchObject(
      refusal('module-missing', 'virtiofs, fuse, virtiofs'),
    );
  });

  it('says that the directory is none of modules', async () => {
    rmSync(path.join(dir, 'modules.builtin'));
    await expect(namesOf()).rejects.toMatchObject(refusal('modules-missing', 'ENOENT'));
  });
});

describe('moduleInfo', () => {
  it('reads no further than the file goes', () => {
    const whole = moduleFile(['a', 'b-c']);
    expect(moduleInfo(whole)).toEqual({ depends: ['a', 'b_c'], before: [] });
    for (let end = 0; end < whole.length; end++)
      expect(() => moduleInfo(whole.subarray(0, end))).not.toThrow();
  });
});
