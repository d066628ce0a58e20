import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runFinish } from './finish.ts';
import { jailMissing, until } from './jail.fixture.ts';
import { locateAgent } from './locate.ts';
import { probeAgent } from './probe.ts';
import type { FinishResult, ScanSpec } from './contract.ts';

const missing = jailMissing();

describe.skipIf(missing !== undefined)(`the scan for what appeared (${missing ?? 'ready'})`, () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'glovebox-scan-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const write = (at: string, content = ''): void => {
    mkdirSync(path.dirname(path.join(root, at)), { recursive: true });
    writeFileSync(path.join(root, at), content);
  };
  const scan = (patterns: readonly string[], more: Partial<ScanSpec> = {}): Promise<FinishResult> =>
    runFinish(locateAgent(), { scan: { root, sinceNs: 0n, patterns, ...more } });
  const names = (result: FinishResult): string[] =>
    result.appeared.map((file) => `${file.type} ${file.path.toString()}`).sort();

  it('finds names, suffixes and globs, of files, directories and links', async () => {
    for (const at of [
      'Makefile',
      'sub/Makefile',
      '.git/hooks/post-merge',
      'x/.git/config',
      'config',
      'Makefile.old',
    ])
      write(at);
    symlinkSync('/nowhere', path.join(root, '.envrc'));
    mkdirSync(path.join(root, 'deep/.husky/_'), { recursive: true });
    const result = await scan(['Makefile', '.git/hooks/*', '.git/config', '.husky/*', '.env*']);
    expect(names(result)).toEqual([
      'dir deep/.husky/_',
      'file .git/hooks/post-merge',
      'file Makefile',
      'file sub/Makefile',
      'file x/.git/config',
      'symlink .envrc',
    ]);
    expect(result).toMatchObject({ truncated: false, unreadable: 0 });
  });

  it('leaves out what did not change, by ctime, which cannot be set back', async () => {
    write('Makefile');
    const sinceNs = BigInt(Math.floor(statSync(path.join(root, 'Makefile')).ctimeMs * 1e6)) + 20_000_000n;
    await new Promise((resolve) => setTimeout(resolve, 60));
    write('sub/Makefile');
    utimesSync(path.join(root, 'sub/Makefile'), 1, 1);
    expect(names(await scan(['Makefile'], { sinceNs }))).toEqual(['file sub/Makefile']);
  });

  it('carries names that are not text', async () => {
    const odd = Buffer.concat([Buffer.from(`${root}/a\n`), Buffer.from([0xff, 0xfe]), Buffer.from('.sh')]);
    writeFileSync(odd, '');
    const result = await scan(['*.sh']);
    expect(result.appeared.map((file) => Array.from(file.path))).toEqual([
      [0x61, 0x0a, 0xff, 0xfe, 0x2e, 0x73, 0x68],
    ]);
  });

  it('does not follow links, and says when a limit cut it short', async () => {
    for (let i = 0; i < 10; i++) write(`d${i}/Makefile`);
    symlinkSync(path.join(root, 'd0'), path.join(root, 'loop'));
    expect((await scan(['Makefile'])).appeared.length).toBe(10);
    expect(await scan(['Makefile'], { maxResults: 3 })).toMatchObject({
      truncated: true,
      appeared: { length: 3 },
    });
    expect(await scan(['Makefile'], { maxEntries: 5 })).toMatchObject({ truncated: true, entries: 5 });
    expect(await scan(['Makefile'], { maxDepth: 0 })).toMatchObject({
      truncated: true,
      appeared: { length: 0 },
    });
  });

  it('sends many results whole', async () => {
    const name = 'n'.repeat(220);
    for (let i = 0; i < 1500; i++) writeFileSync(path.join(root, `${name}${i}.desktop`), '');
    const result = await scan(['*.desktop'], { maxResults: 10_000 });
    expect(new Set(result.appeared.map((file) => file.path.toString())).size).toBe(1500);
  });

  /** Directories that changed less than 1.1 s before a scan are read again by the next one. */
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1300));
  const patterns = ['Makefile', '.git/hooks/*', '.envrc', '*.desktop', 'tool/*/action.yml'];

  describe('with a memory of the last scan', () => {
    let memory: string;
    beforeEach(async () => {
      memory = path.join(mkdtempSync(path.join(tmpdir(), 'glovebox-memory-')), 'tree');
      for (let i = 0; i < 25; i++) for (let k = 0; k < 100; k++) write(`d${i}/file${k}.txt`);
      for (const at of [
        'd3/Makefile',
        'a/b/c/Makefile',
        'a/hooks/pre-commit',
        'a/.git/config',
        'p/one/action.yml',
      ])
        write(at);
      await settle();
      expect((await scan(patterns, { memory })).entries).toBeGreaterThan(2500);
      expect(await until(() => existsSync(memory))).toBe(true);
    });
    afterEach(() => rmSync(path.dirname(memory), { recursive: true, force: true }));

    const both = async (): Promise<string[]> => {
      const known = await scan(patterns, { memory });
      expect(known.entries).toBeLessThan(500);
      expect(names(known)).toEqual(names(await scan(patterns)));
      return names(known);
    };

    it('reads only what changed, and finds the same', async () => {
      expect(await scan(patterns, { memory })).toMatchObject({ entries: 0, truncated: false, unreadable: 0 });
      expect(await both()).toEqual(['file a/b/c/Makefile', 'file d3/Makefile']);
      write('d5/.envrc');
      write('d6/deep/er/x.desktop');
      rmSync(path.join(root, 'a/b/c/Makefile'));
      expect(await both()).toEqual(['file d3/Makefile', 'file d5/.envrc', 'file d6/deep/er/x.desktop']);
    });

    it('finds old files that a moved directory brings under a pattern', async () => {
      renameSync(path.join(root, 'a/hooks'), path.join(root, 'a/.git/hooks'));
      renameSync(path.join(root, 'p'), path.join(root, 'tool'));
      const found = await both();
      expect(found).toContain('file a/.git/hooks/pre-commit');
      expect(found).toContain('file tool/one/action.yml');
      renameSync(path.join(root, 'd3'), path.join(root, 'swap'));
      renameSync(path.join(root, 'd4'), path.join(root, 'd3'));
      renameSync(path.join(root, 'swap'), path.join(root, 'd4'));
      expect(await both()).toContain('file d4/Makefile');
    });

    it('sees that a known file was written to, through its name or another', async () => {
      linkSync(path.join(root, 'a/b/c/Makefile'), path.join(root, 'other'));
      const sinceNs = BigInt(Date.now() - 20) * 1_000_000n;
      expect(names(await scan(patterns, { memory, sinceNs }))).toEqual(['file a/b/c/Makefile']);
      await settle();
      const later = BigInt(Date.now() - 20) * 1_000_000n;
      expect(names(await scan(patterns, { memory, sinceNs: later }))).toEqual([]);
      writeFileSync(path.join(root, 'd3/Makefile'), 'all:');
      writeFileSync(path.join(root, 'other'), 'all:');
      expect(names(await scan(patterns, { memory, sinceNs: later }))).toEqual([
        'file a/b/c/Makefile',
        'file d3/Makefile',
      ]);
    });

    it('is not fooled by times that are set back', async () => {
      const { atime, mtime } = statSync(path.join(root, 'd8'));
      write('d8/.envrc');
      utimesSync(path.join(root, 'd8'), atime, mtime);
      expect(await both()).toContain('file d8/.envrc');
    });

    it('is left alone for other patterns, when it is damaged, and when others may write it', async () => {
      const all = names(await scan(['*.txt'], { memory: `${memory}2`, maxResults: 10_000 }));
      expect(all.length).toBe(2500);
      expect((await scan(['*.txt'], { memory, maxResults: 10_000 })).appeared.length).toBe(2500);
      const bytes = readFileSync(memory);
      for (const damaged of [bytes.subarray(0, bytes.length - 3), Buffer.alloc(64, 7), Buffer.alloc(0)]) {
        writeFileSync(memory, damaged);
        expect((await scan(patterns, { memory })).entries).toBeGreaterThan(2500);
      }
      expect(await until(() => readFileSync(memory).length > 100)).toBe(true);
      chmodSync(memory, 0o666);
      expect((await scan(patterns, { memory })).entries).toBeGreaterThan(2500);
    });
  });

  it('refuses a pattern or a root that makes no sense', async () => {
    await expect(scan(['a//b'])).rejects.toMatchObject({
      code: 'E_IO',
      message: expect.stringContaining('malformed pattern'),
    });
    const spec = { scan: { root: path.join(root, 'absent'), sinceNs: 0n, patterns: [] } };
    await expect(runFinish(locateAgent(), spec)).rejects.toMatchObject({ code: 'E_IO' });
    await expect(runFinish('/nowhere/agent', spec)).rejects.toMatchObject({ code: 'E_IO' });
  });

  it('probes the machine', async () => {
    const probe = await probeAgent(locateAgent());
    expect(probe).toMatchObject({ userNamespaces: { step: expect.any(String) }, seccomp: true });
    expect(probe.arch).toBe({ x64: 'x86_64', arm64: 'aarch64' }[process.arch as string]);
    await expect(probeAgent('/nowhere/agent')).rejects.toMatchObject({ code: 'E_SANDBOX_START' });
  });
});
