import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tarOf, type TarSpec } from '../../../test/support/tar.ts';
import { sha256 } from '../digest.ts';
import { importImage } from '../import.ts';
import { ImageStore } from './store.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync('/var/tmp/gb-store-');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const add = (store: ImageStore, name: string, entries: readonly TarSpec[]) =>
  importImage({ store, name, from: Readable.from([tarOf(entries)]), progress: () => undefined });

describe('ImageStore', () => {
  it('a lease of a living process keeps, one of a dead process does not', async () => {
    const store = new ImageStore(path.join(dir, 'store'));
    const { chain } = await add(store, 'a', [{ name: 'x' }]);
    const release = await store.hold('one', { chains: [chain], blobs: [] });
    await store.remove('a');
    expect(existsSync(store.root(chain))).toBe(true);
    release();
    expect(await store.prune()).toEqual({ images: 1, blobs: 0 });
    expect(existsSync(store.root(chain))).toBe(false);
  });

  it('a name moves to what was saved last, and the old is pruned', async () => {
    const store = new ImageStore(path.join(dir, 'store'));
    const first = await add(store, 'a', [{ name: 'x' }]);
    const second = await add(store, 'a', [{ name: 'y' }]);
    expect(store.get('a:latest').chain).toBe(second.chain);
    expect(await store.prune()).toEqual({ images: 1, blobs: 0 });
    expect(existsSync(store.root(first.chain))).toBe(false);
  });

  it('while somebody imports, nothing is pruned', async () => {
    const store = new ImageStore(path.join(dir, 'store'));
    mkdirSync(store.layout.rootfs(sha256('just unpacked')));
    const release = await store.hold('import', { chains: [], blobs: [], all: true });
    expect(await store.prune()).toEqual({ images: 0, blobs: 0 });
    release();
    expect(await store.prune()).toEqual({ images: 1, blobs: 0 });
  });

  it('names with slashes and colons are files of their own', async () => {
    const store = new ImageStore(path.join(dir, 'store'));
    await add(store, 'host:5000/team/app:v1', [{ name: 'x' }]);
    expect(store.list().map(({ name }) => name)).toEqual(['host:5000/team/app:v1']);
    expect(readdirSync(path.join(dir, 'store/refs'))).toEqual(['host%3A5000%2Fteam%2Fapp%3Av1.json']);
    expect(() => store.find('../../etc/passwd')).toThrow('is not the name of an image');
  });

  it('a damaged entry says what to do', async () => {
    const store = new ImageStore(path.join(dir, 'store'));
    writeFileSync(path.join(dir, 'store/refs/a.json'), '{"name":');
    expect(() => store.get('a')).toThrow('damaged');
    expect(store.list()).toEqual([]);
    expect(await store.remove('a')).toEqual({ images: 0, blobs: 0, damaged: [] });
    expect(store.find('a')).toBeUndefined();
  });

  it.each([
    ['cut short', 'b.json', (text: string) => text.slice(0, -20)],
    ['of another kind', 'b.json', () => '{"name":"b"}'],
    ['under a name that nobody can have', 'b%zz.json', () => 'null'],
  ])('while a name is damaged nothing is pruned, and the file is named: %s', async (_, file, damage) => {
    const store = new ImageStore(path.join(dir, 'store'));
    await add(store, 'a', [{ name: 'x' }]);
    const { chain } = await add(store, 'b', [{ name: 'y' }]);
    const ref = path.join(dir, 'store/refs/b.json');
    const text = readFileSync(ref, 'utf8');
    rmSync(ref);
    const broken = path.join(dir, 'store/refs', file);
    writeFileSync(broken, damage(text));
    expect(store.list().map(({ name }) => name)).toEqual(['a']);
    await expect(store.prune()).rejects.toMatchObject({
      code: 'E_IO',
      what: expect.stringContaining(broken),
    });
    expect(await store.remove('a')).toEqual({ images: 0, blobs: 0, damaged: [broken] });
    expect(readdirSync(path.join(dir, 'store/rootfs'))).toHaveLength(2);
    rmSync(broken);
    writeFileSync(ref, text);
    writeFileSync(path.join(dir, 'store/refs/c.json.1.draft'), '{"na');
    expect(await store.prune()).toEqual({ images: 1, blobs: 0 });
    expect(existsSync(store.root(chain))).toBe(true);
    expect(readdirSync(path.join(dir, 'store/refs'))).toEqual(['b.json']);
  });

  it('scratch goes, however deep and locked what a step left in it is', async () => {
    const store = new ImageStore(path.join(dir, 'store'));
    // Deeper than a path can say.
    const dig = 'for (1 .. 30) { mkdir $d = "d" x 200; chdir $d or die } mkdir "x", 0';
    await store.layout.scratch(async (scratch) => {
      expect(spawnSync('perl', ['-e', dig], { cwd: scratch }).status).toBe(0);
    });
    expect(readdirSync(path.join(dir, 'store/tmp'))).toEqual([]);
  });

  it('another user’s directory is refused', () => {
    if (process.getuid?.() !== 0) return;
    mkdirSync(path.join(dir, 'theirs'));
    spawnSync('chown', ['1000', path.join(dir, 'theirs')]);
    expect(() => new ImageStore(path.join(dir, 'theirs'))).toThrow('belongs to another user');
  });
});
