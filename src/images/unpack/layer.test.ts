import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UnpackBox } from '../../../test/support/unpack.ts';
import { UnpackBudget } from './budget.ts';

let box: UnpackBox;
beforeEach(() => {
  box = new UnpackBox();
});
afterEach(() => box[Symbol.dispose]());

describe('applyLayer', () => {
  it('makes files, directories and links with their modes and times', async () => {
    await box.apply([
      { name: './', mode: 0o755 },
      { name: 'bin/', mode: 0o555, mtime: 1_600_000_000 },
      { name: 'bin/tool', mode: 0o555, content: 'x', mtime: 1_500_000_000 },
      { name: 'bin/same', flag: '1', link: 'bin/tool' },
      { name: 'sh', flag: '2', link: '/bin/tool' },
    ]);
    expect(box.tree()).toEqual({ 'bin/': 'dir', 'bin/tool': 'x', 'bin/same': 'x', sh: '-> /bin/tool' });
    expect(statSync(path.join(box.root, 'bin')).mode & 0o7777).toBe(0o755);
    expect(statSync(path.join(box.root, 'bin')).mtimeMs).toBe(1_600_000_000_000);
    expect(statSync(path.join(box.root, 'bin/tool')).mode & 0o7777).toBe(0o755);
    expect(statSync(path.join(box.root, 'bin/tool')).mtimeMs).toBe(1_500_000_000_000);
    expect(statSync(path.join(box.root, 'bin/tool')).nlink).toBe(2);
  });

  it('fills directories that nobody may write to, and keeps them usable', async () => {
    await box.apply([
      { name: 'locked/', mode: 0 },
      { name: 'locked/in/', mode: 0o111 },
      { name: 'locked/in/file', mode: 0, content: 'x' },
    ]);
    expect(statSync(path.join(box.root, 'locked')).mode & 0o777).toBe(0o700);
    expect(statSync(path.join(box.root, 'locked/in/file')).mode & 0o777).toBe(0o600);
  });

  it('drops setuid and setgid, keeps the sticky bit of directories, and counts', async () => {
    const budget = await box.apply([
      { name: 'su', mode: 0o6755 },
      { name: 'tmp/', mode: 0o1777 },
    ]);
    expect(statSync(path.join(box.root, 'su')).mode & 0o7777).toBe(0o755);
    expect(statSync(path.join(box.root, 'tmp')).mode & 0o7777).toBe(0o1777);
    expect(budget.report().setidDropped).toBe(1);
  });

  it('leaves device nodes and FIFOs out, and says so', async () => {
    const budget = await box.apply([
      { name: 'dev/sda', flag: '4' },
      { name: 'dev/null', flag: '3' },
      { name: 'pipe', flag: '6' },
      { name: 'x' },
    ]);
    expect(box.tree()).toEqual({ x: '' });
    expect(budget.report().skipped).toEqual([
      { name: 'dev/sda', why: 'a device node' },
      { name: 'dev/null', why: 'a device node' },
      { name: 'pipe', why: 'a FIFO' },
    ]);
  });

  it('reads what GNU tar writes, long names and bytes that are not UTF-8 among it', async () => {
    const from = path.join(box.base, 'from');
    const long = `${'d'.repeat(120)}/${'f'.repeat(200)}`;
    mkdirSync(path.dirname(path.join(from, long)), { recursive: true });
    writeFileSync(path.join(from, long), 'long');
    writeFileSync(Buffer.concat([Buffer.from(`${from}/`), Buffer.from([0xff, 0x41])]), 'odd');
    for (const format of ['gnu', 'pax']) {
      const bytes = execFileSync('tar', ['--format', format, '-C', from, '-cf', '-', '.'], {
        maxBuffer: 1 << 24,
      });
      await box.applyBytes(bytes, new UnpackBudget(), 10_000);
      expect(readFileSync(path.join(box.root, long), 'utf8')).toBe('long');
      expect(
        readFileSync(Buffer.concat([Buffer.from(`${box.root}/`), Buffer.from([0xff, 0x41])]), 'utf8'),
      ).toBe('odd');
    }
    rmSync(from, { recursive: true });
  });
});

describe('layers', () => {
  it('whiteouts hide what lies below, in any order, and never what stands in the same layer', async () => {
    const lower = [
      { name: 'a' },
      { name: 'dir/' },
      { name: 'dir/one' },
      { name: 'dir/two' },
      { name: 'keep/x' },
    ];
    await box.apply(lower, [{ name: '.wh.a' }, { name: 'dir/.wh.one' }, { name: 'b' }, { name: '.wh.b' }]);
    expect(box.tree()).toEqual({ b: '', 'dir/': 'dir', 'dir/two': '', 'keep/': 'dir', 'keep/x': '' });
  });

  it.each([
    ['first', [{ name: 'dir/.wh..wh..opq' }, { name: 'dir/new' }]],
    ['last', [{ name: 'dir/new' }, { name: 'dir/.wh..wh..opq' }]],
    ['deep', [{ name: 'dir/sub/new' }, { name: 'dir/.wh..wh..opq' }]],
  ])('an opaque directory hides everything below, whether it comes %s', async (_, upper) => {
    await box.apply([{ name: 'dir/old' }, { name: 'dir/sub/old' }, { name: 'other' }], upper);
    const expected =
      upper[0]?.name.includes('sub') === true ? { 'dir/sub/': 'dir', 'dir/sub/new': '' } : { 'dir/new': '' };
    expect(box.tree()).toEqual({ 'dir/': 'dir', ...expected, other: '' });
  });

  it('replaces: a directory by a file, a file by a directory, a link by a file', async () => {
    await box.apply(
      [{ name: 'a/x' }, { name: 'b', content: 'old' }, { name: 'c', flag: '2', link: 'b' }, { name: 'd/' }],
      [
        { name: 'a', content: 'now a file' },
        { name: 'b/' },
        { name: 'c', content: 'new' },
        { name: 'd', flag: '2', link: 'b' },
      ],
    );
    expect(box.tree()).toEqual({ a: 'now a file', 'b/': 'dir', c: 'new', d: '-> b' });
  });

  it('a file of several names is replaced under one of them only', async () => {
    await box.apply(
      [
        { name: 'a', content: 'old' },
        { name: 'b', flag: '1', link: 'a' },
      ],
      [{ name: 'a', content: 'new' }],
    );
    expect(box.tree()).toEqual({ a: 'new', b: 'old' });
  });

  it('entries below a symlink to a directory go where it leads inside, as with merged /usr', async () => {
    await box.apply([{ name: 'usr/lib/' }, { name: 'lib', flag: '2', link: 'usr/lib' }], [{ name: 'lib/x' }]);
    expect(box.tree()).toEqual({ lib: '-> usr/lib', 'usr/': 'dir', 'usr/lib/': 'dir', 'usr/lib/x': '' });
  });

  it('whiteouts through a symlink and of a missing name are harmless', async () => {
    await box.apply(
      [{ name: 'd/x' }, { name: 'l', flag: '2', link: 'd' }],
      [{ name: 'l/.wh.x' }, { name: 'no/such/.wh.y' }, { name: '.wh..wh.plnk' }],
    );
    expect(box.tree()).toEqual({ 'd/': 'dir', l: '-> d' });
  });
});
