import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pathFromBytes, pathToBytes } from '../base/path-bytes.ts';
import type { FilesystemPolicy, PathRule } from '../policy/contract.ts';
import { literalPrefix, surveyGuards, type Guard } from './survey.ts';

let ws: string;
beforeEach(() => {
  ws = mkdtempSync(path.join(tmpdir(), 'survey-'));
});
afterEach(() => rmSync(ws, { recursive: true, force: true }));

const rule = (target: string, i = 0): PathRule => ({
  id: `deny[${i}]`,
  path: target,
  glob: /[*?[]/.test(target),
  optional: false,
  origin: { layer: 'user' },
});

async function survey(
  deny: readonly string[],
  protect: readonly string[] = [],
): Promise<Record<string, string>> {
  const filesystem: FilesystemPolicy = {
    workspace: ws,
    mode: 'direct',
    workspaceWritable: true,
    read: [],
    write: [],
    deny: deny.map((name, i) => rule(path.join(ws, name), i)),
    protect: protect.map((name, i) => rule(path.join(ws, name), i)),
    unprotect: [],
    tmpBytes: 1,
  };
  const tree = { target: ws, source: ws, writable: true, rule: 'filesystem.workspace' };
  return summary(await surveyGuards(filesystem, [tree]));
}

const summary = (guards: readonly Guard[]): Record<string, string> =>
  Object.fromEntries(guards.map((guard) => [path.relative(ws, guard.path), `${guard.action} ${guard.type}`]));

describe('surveyGuards', () => {
  it('finds what is there and what is not yet there', async () => {
    writeFileSync(path.join(ws, '.env'), 'x');
    expect(await survey(['.env', 'later', 'no/such/dir/key'])).toEqual({
      '.env': 'deny file',
      later: 'deny missing',
      'no/such/dir/key': 'deny missing',
    });
  });

  it('follows a symlink to what it leads to, and guards both', async () => {
    writeFileSync(path.join(ws, 'real'), 'x');
    symlinkSync('real', path.join(ws, 'middle'));
    symlinkSync('middle', path.join(ws, '.env'));
    expect(await survey(['.env'])).toEqual({
      '.env': 'deny symlink',
      middle: 'deny symlink',
      real: 'deny file',
    });
  });

  it('guards the target of a dangling symlink before it exists', async () => {
    symlinkSync('planted', path.join(ws, '.envrc'));
    expect(await survey([], ['.envrc'])).toEqual({ '.envrc': 'protect symlink', planted: 'protect missing' });
  });

  it('ends on a symlink cycle', async () => {
    symlinkSync('b', path.join(ws, 'a'));
    symlinkSync('a', path.join(ws, 'b'));
    expect(await survey(['a'])).toEqual({ a: 'deny symlink', b: 'deny symlink' });
  });

  it('resolves a symlinked parent', async () => {
    mkdirSync(path.join(ws, 'dir'));
    writeFileSync(path.join(ws, 'dir/.env'), 'x');
    symlinkSync('dir', path.join(ws, 'link'));
    expect(await survey(['link/.env'])).toEqual({ 'dir/.env': 'deny file' });
  });

  it('finds the other names of a hard-linked file', async () => {
    writeFileSync(path.join(ws, '.env'), 'x');
    mkdirSync(path.join(ws, 'deep'));
    linkSync(path.join(ws, '.env'), path.join(ws, 'deep/innocent'));
    expect(await survey(['.env'])).toEqual({ '.env': 'deny file', 'deep/innocent': 'deny file' });
  });

  it('lets deny win over protect on one path', async () => {
    writeFileSync(path.join(ws, '.envrc'), 'x');
    expect(await survey(['.envrc'], ['.envrc'])).toEqual({ '.envrc': 'deny file' });
  });

  it('expands globs without entering what matched, whatever the bytes of a name', async () => {
    const odd = Buffer.concat([Buffer.from(`${ws}/a\nb`), Buffer.from([0xff]), Buffer.from('.pem')]);
    writeFileSync(odd, 'x');
    mkdirSync(path.join(ws, 'keys.pem/inner.pem'), { recursive: true });
    mkdirSync(path.join(ws, '.hidden'));
    writeFileSync(path.join(ws, '.hidden/k.pem'), 'x');
    const found = await survey(['**/*.pem']);
    expect(Object.keys(found).sort()).toEqual(['.hidden/k.pem', 'a\nb\udcff.pem', 'keys.pem']);
    expect(pathToBytes(pathFromBytes(odd)).equals(odd)).toBe(true);
  });

  it('knows the execution sinks of git directories at the root and one level below', async () => {
    execFileSync('git', ['init', '-q', ws]);
    execFileSync('git', ['init', '-q', path.join(ws, 'vendored')]);
    execFileSync('git', ['-C', ws, 'config', 'core.hooksPath', '.githooks']);
    const found = await survey([]);
    expect(found).toMatchObject({
      '.git/hooks': 'protect dir',
      '.git/config': 'protect file',
      '.git/config.worktree': 'protect missing',
      '.githooks': 'protect missing',
      'vendored/.git/hooks': 'protect dir',
    });
  });

  it('follows a .git file to the directory it names', async () => {
    mkdirSync(path.join(ws, 'store/hooks'), { recursive: true });
    writeFileSync(path.join(ws, '.git'), 'gitdir: store\n');
    expect(await survey([])).toMatchObject({ '.git': 'protect file', 'store/hooks': 'protect dir' });
  });
});

describe('literalPrefix', () => {
  it.each([
    ['/a/b/*.pem', '/a/b'],
    ['/a/**/x', '/a'],
    ['/*', '/'],
    ['/a/b', '/a/b'],
  ])('%s -> %s', (glob, prefix) => expect(literalPrefix(glob)).toBe(prefix));
});
