import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Kernel } from '../contract.ts';
import { bzImageFile, elfFile, withLength } from './elf.fixture.ts';
import { findKernel } from './find.ts';
import { plainKernel } from './vmlinux.ts';

const RELEASE = '6.1.0-1-cloud-amd64';
const onIntel = process.arch === 'x64';
const MACHINE = onIntel ? 62 : 183;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'gb-kernel-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function place(name: string, content: Buffer, modules = [RELEASE]): string {
  for (const release of modules) mkdirSync(path.join(dir, 'lib/modules', release), { recursive: true });
  mkdirSync(path.join(dir, 'boot'), { recursive: true });
  const file = path.join(dir, 'boot', name);
  writeFileSync(file, content);
  return file;
}

const kernelElf = (): Buffer => elfFile({}, { machine: MACHINE });
const refusal = (problem: string, why: RegExp): object => ({
  code: 'E_TIER_UNAVAILABLE',
  why: expect.stringMatching(why) as unknown,
  next: expect.stringMatching(/GLOVEBOX_KERNEL|GLOVEBOX_MODULES/) as unknown,
  context: { problem },
});

function refused(env: NodeJS.ProcessEnv, places: readonly string[] = []): unknown {
  try {
    return findKernel(env, [...places]);
  } catch (error) {
    return error;
  }
}

describe.skipIf(!onIntel)('findKernel of x86-64', () => {
  it('knows a bzImage and the modules beside it', () => {
    const file = place('vmlinuz', bzImageFile(Buffer.alloc(100)));
    expect(findKernel({ GLOVEBOX_KERNEL: file })).toEqual({
      file,
      format: 'bzimage',
      arch: 'x86_64',
      release: RELEASE,
      modules: path.join(dir, 'lib/modules', RELEASE),
    });
  });

  it('takes the newest cloud kernel of the first place that has one', () => {
    const places = [path.join(dir, 'nothing'), dir];
    for (const version of ['6.1.0-9', '6.1.0-10']) {
      const release = `${version}-cloud-amd64`;
      place(`vmlinuz-${release}`, bzImageFile(Buffer.alloc(100), { release }), [release]);
    }
    place('vmlinuz-6.1.0-99-amd64', Buffer.from('of the host'));
    expect(findKernel({}, places).release).toBe('6.1.0-10-cloud-amd64');
  });

  it('reads the release of an ELF kernel from its name, or from the modules that are named', () => {
    expect(findKernel({ GLOVEBOX_KERNEL: place(`vmlinux-${RELEASE}`, kernelElf()) })).toMatchObject({
      format: 'elf',
      release: RELEASE,
    });
    const modules = path.join(dir, 'lib/modules', RELEASE);
    expect(
      findKernel({ GLOVEBOX_KERNEL: place('kernel', kernelElf()), GLOVEBOX_MODULES: modules }),
    ).toMatchObject({
      release: RELEASE,
      modules,
    });
    expect(refused({ GLOVEBOX_KERNEL: path.join(dir, 'boot/kernel') })).toMatchObject(
      refusal('modules-missing', /does not say its release/),
    );
  });

  it('follows a link to the kernel, and finds the modules beside either', () => {
    const file = place('vmlinuz', bzImageFile(Buffer.alloc(100)));
    const link = path.join(dir, 'current');
    symlinkSync(file, link);
    expect(findKernel({ GLOVEBOX_KERNEL: link }).modules).toBe(path.join(dir, 'lib/modules', RELEASE));
  });

  it('says that there is none, and where one comes from', () => {
    expect(refused({}, [dir])).toMatchObject(refusal('kernel-missing', /no kernel for guests/));
    expect(refused({ GLOVEBOX_KERNEL: path.join(dir, 'nope') })).toMatchObject(
      refusal('kernel-missing', /ENOENT/),
    );
    expect(refused({ GLOVEBOX_KERNEL: dir })).toMatchObject(refusal('kernel-damaged', /no regular file/));
  });

  it.each([
    ['text', Buffer.from('#!/bin/sh\nexit 0\n'), 'kernel-damaged', /neither a bzImage/],
    ['nothing', Buffer.alloc(0), 'kernel-damaged', /neither a bzImage/],
    ['a cut bzImage', bzImageFile(Buffer.alloc(10_000)).subarray(0, 5_000), 'kernel-damaged', /cut short/],
    ['a bzImage of 32 bits', bzImageFile(Buffer.alloc(9), { is64Bit: false }), 'kernel-arch', /for i386/],
    ['an ELF file of arm64', elfFile({}, { machine: 183 }), 'kernel-arch', /for aarch64/],
    [
      'an Image of arm64',
      Buffer.concat([Buffer.alloc(56), Buffer.from('ARM\x64'), Buffer.alloc(99)]),
      'kernel-arch',
      /for aarch64/,
    ],
  ])('refuses %s', (_what, content, problem, why) => {
    const file = place(`vmlinuz-${RELEASE}`, content);
    expect(refused({ GLOVEBOX_KERNEL: file })).toMatchObject(refusal(problem, why));
  });

  it('refuses a kernel without its modules', () => {
    const file = place('vmlinuz', bzImageFile(Buffer.alloc(100)), []);
    expect(refused({ GLOVEBOX_KERNEL: file })).toMatchObject(
      refusal('modules-missing', /lib\/modules\/6\.1/),
    );
    expect(refused({ GLOVEBOX_KERNEL: file, GLOVEBOX_MODULES: path.join(dir, 'x') })).toMatchObject(
      refusal('modules-missing', /no directory/),
    );
  });
});

const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const pack = (program: string, args: readonly string[], plain: Buffer): Buffer =>
  spawnSync(program, [...args], { input: plain, maxBuffer: 1 << 30 }).stdout;

const PACKERS: readonly (readonly [string, (plain: Buffer) => Buffer])[] = [
  ['lz4', (plain) => withLength(pack('lz4', ['-lc'], plain), plain.length)],
  ['xz', (plain) => withLength(pack('xz', ['-c', '--check=crc32'], plain), plain.length)],
  ['zstd', (plain) => withLength(pack('zstd', ['-c'], plain), plain.length)],
  ['gzip', (plain) => gzipSync(plain)],
];

describe.skipIf(!onIntel)('plainKernel of x86-64', () => {
  const kernel = (file: string): Kernel => ({
    ...{ file, format: 'bzimage', arch: 'x86_64', release: RELEASE, modules: dir },
  });
  const inside = elfFile({}, { segment: Buffer.alloc(200_000, 'kernel ') });
  const cut = (payload: Buffer): Promise<unknown> =>
    plainKernel(kernel('/a/kernel'), bzImageFile(payload)).catch((error: unknown) => error);

  it.each(PACKERS.filter(([name]) => has(name)))('unpacks a kernel packed with %s', async (_name, packer) => {
    expect(inside.equals((await cut(packer(inside))) as Buffer)).toBe(true);
  });

  it('takes one that is not packed at all as it is', async () => {
    expect(inside.equals((await cut(inside)) as Buffer)).toBe(true);
  });

  it.each(PACKERS.filter(([name]) => has(name)))('refuses damaged data of %s', async (_name, packer) => {
    const payload = packer(inside);
    payload.fill(0x55, 40, payload.length - 4);
    expect(await cut(payload)).toMatchObject(refusal('kernel-damaged', /cannot be read/));
  });

  it.skipIf(!has('lz4'))(
    'unpacks no more than was announced, and refuses an absurd announcement',
    async () => {
      const packed = pack('lz4', ['-lc'], inside);
      expect(await cut(withLength(packed, 1000))).toMatchObject(refusal('kernel-damaged', /cannot be read/));
      expect(await cut(withLength(packed, 0xffff_ffff))).toMatchObject(
        refusal('kernel-damaged', /4294967295 bytes/),
      );
    },
  );

  it.each([
    [
      'of an unknown compression',
      Buffer.from('no compression that anybody knows'),
      'kernel-damaged',
      /compression is unknown/,
    ],
    [
      'with a payload that is no kernel',
      gzipSync(Buffer.from('hello, world')),
      'kernel-damaged',
      /no ELF file/,
    ],
    [
      'for another machine',
      gzipSync(elfFile({}, { machine: 183 })),
      'kernel-arch',
      /not a kernel for x86_64/,
    ],
    ['whose ELF file is cut', gzipSync(inside.subarray(0, 100_000)), 'kernel-damaged', /cut short/],
  ])('refuses a kernel %s', async (_what, payload, problem, why) => {
    expect(await cut(payload)).toMatchObject(refusal(problem, why));
  });

  it('refuses one that was cut since it was found', async () => {
    const whole = bzImageFile(gzipSync(inside));
    await expect(plainKernel(kernel('/a/kernel'), whole.subarray(0, 1700))).rejects.toMatchObject(
      refusal('kernel-damaged', /cut short/),
    );
  });

  it('names the program that is missing', async () => {
    const tools = path.join(dir, 'tools');
    mkdirSync(tools);
    const { PATH } = process.env;
    process.env['PATH'] = tools;
    try {
      expect(await cut(withLength(Buffer.from('02214c1801000000ff', 'hex'), 10))).toMatchObject({
        code: 'E_TIER_UNAVAILABLE',
        why: 'there is no program lz4',
        next: expect.stringContaining('apt-get install lz4') as unknown,
        context: { problem: 'program-missing' },
      });
    } finally {
      process.env['PATH'] = PATH;
    }
  });
});
