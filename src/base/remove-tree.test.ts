import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeTree } from './remove-tree.ts';

describe('removing a tree that untrusted code has made', () => {
  let base = '';
  beforeEach(() => {
    base = mkdtempSync(path.join(tmpdir(), 'remove-tree-'));
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  const made = (...parts: readonly string[]): string => {
    const dir = path.join(base, 'tree', ...parts);
    mkdirSync(dir, { recursive: true });
    return dir;
  };

  it('has nothing to do for one that is not there', async () => {
    await expect(removeTree(path.join(base, 'none'))).resolves.toBeUndefined();
  });

  it('opens directories that are shut', async () => {
    for (const dir of [made('a', 'b', 'c'), made('a', 'b'), made('a'), made()]) {
      writeFileSync(path.join(dir, 'file'), '');
      chmodSync(dir, 0);
    }
    await removeTree(path.join(base, 'tree'));
    expect(existsSync(path.join(base, 'tree'))).toBe(false);
  });

  it('takes a tree that is deeper than any path', async () => {
    const script = `import os
for _ in range(60): os.mkdir('d' * 200); os.chdir('d' * 200)
open('file', 'w').close()`;
    execFileSync('python3', ['-c', script], { cwd: made() });
    await removeTree(path.join(base, 'tree'));
    expect(existsSync(path.join(base, 'tree'))).toBe(false);
  });

  it('takes names that are no UTF-8, in files and directories', async () => {
    const dir = Buffer.concat([Buffer.from(`${made()}/`), Buffer.of(0xff, 0xfe, 10)]);
    mkdirSync(dir);
    writeFileSync(Buffer.concat([dir, Buffer.from('/'), Buffer.of(0x80)]), '');
    await removeTree(path.join(base, 'tree'));
    expect(existsSync(path.join(base, 'tree'))).toBe(false);
  });

  it('removes symbolic links and not what they lead to', async () => {
    const outside = path.join(base, 'outside');
    mkdirSync(outside, { mode: 0o750 });
    writeFileSync(path.join(outside, 'kept'), 'kept');
    symlinkSync(outside, path.join(made('a'), 'link'));
    symlinkSync(outside, path.join(made(), 'link'));
    await removeTree(path.join(base, 'tree'));
    expect(readFileSync(path.join(outside, 'kept'), 'utf8')).toBe('kept');
    expect(statSync(outside).mode & 0o777).toBe(0o750);
    expect(existsSync(path.join(base, 'tree'))).toBe(false);
  });

  it('refuses a symbolic link in the place of the tree', async () => {
    symlinkSync(made(), path.join(base, 'link'));
    writeFileSync(path.join(base, 'tree', 'kept'), '');
    await expect(removeTree(path.join(base, 'link'))).rejects.toThrow('ENOTDIR');
    expect(existsSync(path.join(base, 'tree', 'kept'))).toBe(true);
  });

  it('gives others their turn while it works', async () => {
    const dir = made();
    for (let i = 0; i < 1000; i++) writeFileSync(path.join(dir, `${i}`), '');
    let turns = 0;
    setImmediate(function take() {
      turns += 1;
      if (existsSync(dir)) setImmediate(take);
    });
    await removeTree(dir);
    expect(turns).toBeGreaterThan(5);
  });

  it('may run twice at once', async () => {
    for (let i = 0; i < 20; i++) writeFileSync(path.join(made(`${i}`, 'x', 'y'), 'file'), '');
    await Promise.all([removeTree(path.join(base, 'tree')), removeTree(path.join(base, 'tree'))]);
    expect(existsSync(path.join(base, 'tree'))).toBe(false);
  });
});
