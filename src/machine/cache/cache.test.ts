import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MachineCache, type CacheRequest } from './cache.ts';
import { rememberedKey } from './memo.ts';

const isRoot = process.getuid?.() === 0;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync('/var/tmp/gb-machine-');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const cacheDir = (): string => path.join(dir, 'cache');
const request = (key = 'a', slot = 'one'): CacheRequest => ({ kind: 'root', key, slot });

/** Counts what it makes. */
class Maker {
  made = 0;
  readonly #text: string;

  constructor(text = 'content') {
    this.#text = text;
  }

  readonly build = (file: string): Promise<void> => {
    this.made += 1;
    writeFileSync(file, this.#text);
    return Promise.resolve();
  };
}

describe('MachineCache', () => {
  it('makes a file once, read-only and private, and knows it again in another process', async () => {
    const maker = new Maker();
    const cache = new MachineCache(cacheDir());
    const first = await cache.ensure(request(), cache.lease(), maker.build);
    expect(readFileSync(first.file, 'utf8')).toBe('content');
    expect(first).toMatchObject({ bytes: 7, sha256: createHash('sha256').update('content').digest('hex') });
    const again = new MachineCache(cacheDir());
    expect(await again.ensure(request(), again.lease(), maker.build)).toEqual(first);
    expect(maker.made).toBe(1);
    expect(readdirSync(path.join(cacheDir(), 'tmp'))).toEqual([]);
    expect(readdirSync(path.join(cacheDir(), 'locks'))).toEqual([]);
  });

  it.each([
    ['cut short', (file: string) => truncateSync(file, 3)],
    ['changed', (file: string) => writeFileSync(file, 'CONTENT')],
    ['gone', (file: string) => rmSync(file)],
    ['a directory', (file: string) => (rmSync(file), mkdirSync(file))],
    ['without its record', (file: string) => rmSync(path.join(path.dirname(file), 'record.json'))],
    [
      'with half a record',
      (file: string) => writeFileSync(path.join(path.dirname(file), 'record.json'), '{"vers'),
    ],
    [
      'with another record',
      (file: string) => writeFileSync(path.join(path.dirname(file), 'record.json'), '{"version":2}'),
    ],
    ['of another user', (file: string) => (isRoot ? chownSync(file, 1000, 1000) : rmSync(file))],
  ])('makes an entry anew that is %s', async (_what, spoil) => {
    const maker = new Maker();
    const cache = new MachineCache(cacheDir());
    const { file } = await cache.ensure(request(), cache.lease(), maker.build);
    chmodSync(file, 0o600);
    spoil(file);
    const again = await cache.ensure(request(), cache.lease(), maker.build);
    expect(readFileSync(again.file, 'utf8')).toBe('content');
    expect(maker.made).toBe(2);
  });

  it('keeps an entry that only looks different', async () => {
    const maker = new Maker();
    const cache = new MachineCache(cacheDir());
    const { file } = await cache.ensure(request(), cache.lease(), maker.build);
    utimesSync(file, 1, 1);
    await cache.ensure(request(), cache.lease(), maker.build);
    expect(maker.made).toBe(1);
  });

  it('of several that want the same one makes it, and the others get it', async () => {
    const maker = new Maker();
    const slow = async (file: string): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      await maker.build(file);
    };
    const wants = Array.from({ length: 5 }, async () => {
      const cache = new MachineCache(cacheDir());
      return cache.ensure(request(), cache.lease(), slow);
    });
    const files = (await Promise.all(wants)).map(({ file }) => file);
    expect(new Set(files).size).toBe(1);
    expect(maker.made).toBe(1);
  });

  it('takes over from a builder that died, and sweeps what it left', async () => {
    const cache = new MachineCache(cacheDir());
    const left = path.join(cacheDir(), 'tmp/999999999-1-tmp_x');
    mkdirSync(path.join(left, 'made'), { recursive: true });
    writeFileSync(path.join(left, 'made/data'), 'half');
    writeFileSync(path.join(cacheDir(), 'locks/root-a'), '999999999 1');
    const maker = new Maker();
    await cache.ensure(request(), cache.lease(), maker.build);
    expect(maker.made).toBe(1);
    expect(existsSync(left)).toBe(false);
  });

  it('leaves nothing of a build that fails, and the next one may work', async () => {
    const cache = new MachineCache(cacheDir());
    const failing = (file: string): Promise<void> => {
      writeFileSync(file, 'half');
      return Promise.reject(new Error('no'));
    };
    await expect(cache.ensure(request(), cache.lease(), failing)).rejects.toThrow('no');
    expect(readdirSync(path.join(cacheDir(), 'entries'))).toEqual([]);
    expect(readdirSync(path.join(cacheDir(), 'tmp'))).toEqual([]);
    const maker = new Maker();
    await cache.ensure(request(), cache.lease(), maker.build);
    expect(maker.made).toBe(1);
  });

  it('a newer entry of a slot replaces the older one, unless somebody uses that', async () => {
    const cache = new MachineCache(cacheDir());
    const held = cache.lease();
    const maker = new Maker();
    const make = async (key: string, slot: string, lease = cache.lease()): Promise<void> => {
      await cache.ensure(request(key, slot), lease, maker.build);
      if (lease !== held) lease.release();
    };
    await make('old', 'one');
    await make('used', 'one', held);
    await make('other', 'two');
    await make('new', 'one');
    expect(readdirSync(path.join(cacheDir(), 'entries')).sort()).toEqual([
      'root-new',
      'root-other',
      'root-used',
    ]);
    held.release();
    expect(await cache.prune()).toBe(3);
    expect(readdirSync(path.join(cacheDir(), 'entries'))).toEqual([]);
  });

  it('the lease of a dead process keeps nothing, and goes', async () => {
    const cache = new MachineCache(cacheDir());
    const lease = cache.lease();
    await cache.ensure(request(), lease, new Maker().build);
    const leases = path.join(cacheDir(), 'leases');
    expect(await cache.prune()).toBe(0);
    lease.release();
    writeFileSync(path.join(leases, '999999999-1-lse_x'), 'root-a');
    expect(await cache.prune()).toBe(1);
    expect(readdirSync(leases)).toEqual([]);
  });

  it('a cache that another user owns is refused', () => {
    if (!isRoot) return;
    mkdirSync(cacheDir());
    chownSync(cacheDir(), 1000, 1000);
    expect(() => new MachineCache(cacheDir())).toThrow('belongs to another user');
  });

  it('a disk that is full is told as such', async () => {
    const cache = new MachineCache(cacheDir());
    const full = (): Promise<void> => Promise.reject(Object.assign(new Error('write'), { code: 'ENOSPC' }));
    await expect(cache.ensure(request(), cache.lease(), full)).rejects.toMatchObject({
      code: 'E_IMAGE_SPACE',
    });
  });

  // Nothing is read-only for root.
  it.skipIf(isRoot)('a cache that cannot be written says so', async () => {
    const cache = new MachineCache(cacheDir());
    for (const part of ['entries', 'leases', 'locks', 'memo', 'tmp'])
      chmodSync(path.join(cacheDir(), part), 0o500);
    const want = cache.ensure(request(), cache.lease(), new Maker().build);
    await expect(want).rejects.toMatchObject({
      code: 'E_IO',
      what: expect.stringContaining(cacheDir()) as unknown,
    });
    for (const part of ['entries', 'leases', 'locks', 'memo', 'tmp'])
      chmodSync(path.join(cacheDir(), part), 0o700);
    rmSync(cacheDir(), { recursive: true });
    chmodSync(dir, 0o500);
    expect(() => new MachineCache(cacheDir())).toThrow(/EACCES/);
    chmodSync(dir, 0o700);
  });
});

describe('rememberedKey', () => {
  it('reads again only when a file changed, was replaced or is gone', async () => {
    const source = path.join(dir, 'source');
    let reads = 0;
    const key = (): Promise<string> =>
      rememberedKey(dir, 'question', (read) => {
        reads += 1;
        return Promise.resolve(read(source).toString('utf8'));
      });
    writeFileSync(source, 'one');
    expect([await key(), await key(), reads]).toEqual(['one', 'one', 1]);
    writeFileSync(source, 'two');
    expect([await key(), await key(), reads]).toEqual(['two', 'two', 2]);
    rmSync(source);
    await expect(key()).rejects.toThrow('ENOENT');
  });

  it('what is remembered in a damaged file is not there', async () => {
    const source = path.join(dir, 'source');
    writeFileSync(source, 'one');
    const derive = (): Promise<string> =>
      rememberedKey(dir, 'question', (read) => Promise.resolve(read(source).toString('utf8')));
    await derive();
    const memo = readdirSync(dir).find((name) => name !== 'source') ?? '';
    for (const text of ['', '{"key":"wrong"}', '{"key":"wrong","seals":{}}', '[]', 'null']) {
      writeFileSync(path.join(dir, memo), text);
      expect(await derive()).toBe('one');
    }
  });
});
