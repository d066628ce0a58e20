import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pax, tarOf, type TarSpec } from '../../../test/support/tar.ts';
import { UnpackBudget } from './budget.ts';
import { applyLayer } from './layer.ts';

let base: string;
let root: string;
let outside: string;
beforeEach(() => {
  base = mkdtempSync('/var/tmp/gb-layer-');
  root = path.join(base, 'root');
  outside = path.join(base, 'outside');
  mkdirSync(root);
  mkdirSync(outside);
  mkdirSync(path.join(outside, 'sub'));
  writeFileSync(path.join(outside, 'secret'), 'secret');
  for (const name of ['secret', 'sub', '']) {
    chmodSync(path.join(outside, name), 0o700);
    utimesSync(path.join(outside, name), 1000, 1000);
  }
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

async function* chunks(bytes: Buffer, size = 700): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function apply(...layers: (readonly TarSpec[])[]): Promise<UnpackBudget> {
  const budget = new UnpackBudget();
  for (const layer of layers) await applyLayer(root, chunks(tarOf(layer)), budget);
  return budget;
}

const refused = async (...layers: (readonly TarSpec[])[]): Promise<string> =>
  apply(...layers).then(
    () => 'applied',
    (error: unknown) =>
      error instanceof Error && 'code' in error ? `${String(error.code)} ${error.message}` : String(error),
  );

/** Every path below a directory, with kind and content. */
function tree(dir: string, prefix = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(dir).sort()) {
    const target = path.join(dir, name);
    const stat = lstatSync(target);
    if (stat.isSymbolicLink()) found[prefix + name] = `-> ${readlinkSync(target)}`;
    else if (stat.isDirectory())
      Object.assign(found, { [`${prefix}${name}/`]: 'dir' }, tree(target, `${prefix}${name}/`));
    else found[prefix + name] = readFileSync(target, 'utf8');
  }
  return found;
}

/** Nothing outside of the root was made, changed or removed. */
function expectOutsideUntouched(): void {
  expect(tree(outside)).toEqual({ 'sub/': 'dir', secret: 'secret' });
  for (const name of ['', 'sub', 'secret'])
    expect([
      statSync(path.join(outside, name)).mode & 0o7777,
      statSync(path.join(outside, name)).mtimeMs,
    ]).toEqual([0o700, 1_000_000]);
  expect(readdirSync(base).sort()).toEqual(['outside', 'root']);
}

describe('applyLayer', () => {
  it('makes files, directories and links with their modes and times', async () => {
    await apply([
      { name: './', mode: 0o755 },
      { name: 'bin/', mode: 0o555, mtime: 1_600_000_000 },
      { name: 'bin/tool', mode: 0o555, content: 'x', mtime: 1_500_000_000 },
      { name: 'bin/same', flag: '1', link: 'bin/tool' },
      { name: 'sh', flag: '2', link: '/bin/tool' },
    ]);
    expect(tree(root)).toEqual({ 'bin/': 'dir', 'bin/tool': 'x', 'bin/same': 'x', sh: '-> /bin/tool' });
    expect(statSync(path.join(root, 'bin')).mode & 0o7777).toBe(0o755);
    expect(statSync(path.join(root, 'bin')).mtimeMs).toBe(1_600_000_000_000);
    expect(statSync(path.join(root, 'bin/tool')).mode & 0o7777).toBe(0o755);
    expect(statSync(path.join(root, 'bin/tool')).mtimeMs).toBe(1_500_000_000_000);
    expect(statSync(path.join(root, 'bin/tool')).nlink).toBe(2);
  });

  it('fills directories that nobody may write to, and keeps them usable', async () => {
    await apply([
      { name: 'locked/', mode: 0 },
      { name: 'locked/in/', mode: 0o111 },
      { name: 'locked/in/file', mode: 0, content: 'x' },
    ]);
    expect(statSync(path.join(root, 'locked')).mode & 0o777).toBe(0o700);
    expect(statSync(path.join(root, 'locked/in/file')).mode & 0o777).toBe(0o600);
  });

  it('drops setuid and setgid, keeps the sticky bit of directories, and counts', async () => {
    const budget = await apply([
      { name: 'su', mode: 0o6755 },
      { name: 'tmp/', mode: 0o1777 },
    ]);
    expect(statSync(path.join(root, 'su')).mode & 0o7777).toBe(0o755);
    expect(statSync(path.join(root, 'tmp')).mode & 0o7777).toBe(0o1777);
    expect(budget.report().setidDropped).toBe(1);
  });

  it('leaves device nodes and FIFOs out, and says so', async () => {
    const budget = await apply([
      { name: 'dev/sda', flag: '4' },
      { name: 'dev/null', flag: '3' },
      { name: 'pipe', flag: '6' },
      { name: 'x' },
    ]);
    expect(tree(root)).toEqual({ x: '' });
    expect(budget.report().skipped).toEqual([
      { name: 'dev/sda', why: 'a device node' },
      { name: 'dev/null', why: 'a device node' },
      { name: 'pipe', why: 'a FIFO' },
    ]);
  });

  it('reads what GNU tar writes, long names and bytes that are not UTF-8 among it', async () => {
    const from = path.join(base, 'from');
    const long = `${'d'.repeat(120)}/${'f'.repeat(200)}`;
    mkdirSync(path.dirname(path.join(from, long)), { recursive: true });
    writeFileSync(path.join(from, long), 'long');
    writeFileSync(Buffer.concat([Buffer.from(`${from}/`), Buffer.from([0xff, 0x41])]), 'odd');
    for (const format of ['gnu', 'pax']) {
      const bytes = execFileSync('tar', ['--format', format, '-C', from, '-cf', '-', '.'], {
        maxBuffer: 1 << 24,
      });
      await applyLayer(root, chunks(bytes, 10_000), new UnpackBudget());
      expect(readFileSync(path.join(root, long), 'utf8')).toBe('long');
      expect(readFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0x41])]), 'utf8')).toBe(
        'odd',
      );
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
    await apply(lower, [{ name: '.wh.a' }, { name: 'dir/.wh.one' }, { name: 'b' }, { name: '.wh.b' }]);
    expect(tree(root)).toEqual({ b: '', 'dir/': 'dir', 'dir/two': '', 'keep/': 'dir', 'keep/x': '' });
  });

  it.each([
    ['first', [{ name: 'dir/.wh..wh..opq' }, { name: 'dir/new' }]],
    ['last', [{ name: 'dir/new' }, { name: 'dir/.wh..wh..opq' }]],
    ['deep', [{ name: 'dir/sub/new' }, { name: 'dir/.wh..wh..opq' }]],
  ])('an opaque directory hides everything below, whether it comes %s', async (_, upper) => {
    await apply([{ name: 'dir/old' }, { name: 'dir/sub/old' }, { name: 'other' }], upper);
    const expected =
      upper[0]?.name.includes('sub') === true ? { 'dir/sub/': 'dir', 'dir/sub/new': '' } : { 'dir/new': '' };
    expect(tree(root)).toEqual({ 'dir/': 'dir', ...expected, other: '' });
  });

  it('replaces: a directory by a file, a file by a directory, a link by a file', async () => {
    await apply(
      [{ name: 'a/x' }, { name: 'b', content: 'old' }, { name: 'c', flag: '2', link: 'b' }, { name: 'd/' }],
      [
        { name: 'a', content: 'now a file' },
        { name: 'b/' },
        { name: 'c', content: 'new' },
        { name: 'd', flag: '2', link: 'b' },
      ],
    );
    expect(tree(root)).toEqual({ a: 'now a file', 'b/': 'dir', c: 'new', d: '-> b' });
  });

  it('a file of several names is replaced under one of them only', async () => {
    await apply(
      [
        { name: 'a', content: 'old' },
        { name: 'b', flag: '1', link: 'a' },
      ],
      [{ name: 'a', content: 'new' }],
    );
    expect(tree(root)).toEqual({ a: 'new', b: 'old' });
  });

  it('entries below a symlink to a directory go where it leads inside, as with merged /usr', async () => {
    await apply([{ name: 'usr/lib/' }, { name: 'lib', flag: '2', link: 'usr/lib' }], [{ name: 'lib/x' }]);
    expect(tree(root)).toEqual({ lib: '-> usr/lib', 'usr/': 'dir', 'usr/lib/': 'dir', 'usr/lib/x': '' });
  });

  it('whiteouts through a symlink and of a missing name are harmless', async () => {
    await apply(
      [{ name: 'd/x' }, { name: 'l', flag: '2', link: 'd' }],
      [{ name: 'l/.wh.x' }, { name: 'no/such/.wh.y' }, { name: '.wh..wh.plnk' }],
    );
    expect(tree(root)).toEqual({ 'd/': 'dir', l: '-> d' });
  });
});

describe('tricks', () => {
  it.each([
    ['..', [{ name: '../evil', content: 'x' }]],
    ['.. in the middle', [{ name: 'a/../../evil' }]],
    ['.. as a directory', [{ name: 'a/..', flag: '5' }]],
    ['a whiteout of ..', [{ name: '.wh...' }]],
    ['a whiteout of .', [{ name: 'd/.wh..' }]],
    ['a whiteout of nothing', [{ name: '.wh.' }]],
    ['a hard link out', [{ name: 'x', flag: '1', link: '../outside/secret' }]],
    ['a hard link to an absolute path', [{ name: 'x', flag: '1', link: '/etc/passwd' }]],
    [
      'a hard link through a symlink',
      [
        { name: 'l', flag: '2', link: '/' },
        { name: 'x', flag: '1', link: 'l/etc/passwd' },
      ],
    ],
    [
      'a hard link over the directory that holds it',
      [{ name: 'd/x' }, { name: 'd', flag: '1', link: 'd/x' }],
    ],
    ['a hard link to a directory', [{ name: 'd/' }, { name: 'x', flag: '1', link: 'd' }]],
    ['a file below a file', [{ name: 'f' }, { name: 'f/x' }]],
    ['a name with a zero byte', [pax({ path: 'a\0b' }), { name: 'x' }]],
    ['an empty symlink', [{ name: 'x', flag: '2', link: '' }]],
    [
      'a circle of symlinks',
      [{ name: 'a', flag: '2', link: 'b' }, { name: 'b', flag: '2', link: 'a' }, { name: 'a/x' }],
    ],
    ['a sparse file', [pax({ 'GNU.sparse.major': '1' }), { name: 'x' }]],
    ['an unknown type', [{ name: 'x', flag: 'Z' }]],
    ['a global path', [{ ...pax({ path: 'x' }), flag: 'g' }, { name: 'y' }]],
  ] satisfies [string, readonly TarSpec[]][])('%s is refused', async (_, entries) => {
    expect(await refused(entries)).toMatch(/^E_IMAGE_INVALID /);
    expectOutsideUntouched();
  });

  it('a write through symlinks stays inside', async () => {
    await apply([
      { name: 'abs', flag: '2', link: outside },
      { name: 'abs/evil', content: 'x' },
      { name: 'rel', flag: '2', link: '../../../../..' + outside },
      { name: 'rel/evil', content: 'x' },
      { name: 'up', flag: '2', link: '..' },
      { name: 'up/evil2', content: 'x' },
    ]);
    expectOutsideUntouched();
    expect(existsSync(path.join(root, outside, 'evil'))).toBe(true);
    expect(existsSync(path.join(root, 'evil2'))).toBe(true);
  });

  it('a file over a symlink replaces the link and not what it leads to', async () => {
    await apply(
      [{ name: 'l', flag: '2', link: path.join(outside, 'secret') }],
      [{ name: 'l', content: 'mine' }],
    );
    expectOutsideUntouched();
    expect(tree(root)).toEqual({ l: 'mine' });
  });

  it.each([
    [
      'itself',
      [
        { name: 'd/', mode: 0o777 },
        { name: 'd', flag: '2', link: '../outside' },
      ],
    ],
    [
      'its parent',
      [
        { name: 'd/sub/', mode: 0o777 },
        { name: 'd', flag: '2', link: '../outside' },
      ],
    ],
    [
      'its parent, absolute',
      [
        { name: 'a/d/sub/', mode: 0o777 },
        { name: 'a', flag: '2', link: 'x' },
        { name: 'x/d', flag: '2', link: 'OUTSIDE' },
      ],
    ],
  ])('a directory whose place a symlink takes later passes no mode on: %s', async (_, entries) => {
    const real = entries.map((entry) =>
      'link' in entry && entry.link === 'OUTSIDE' ? { ...entry, link: outside } : entry,
    );
    await apply(real);
    await apply(real.slice(0, 1), real.slice(1));
    expectOutsideUntouched();
  });

  it('a hard link to a symlink is another symlink, and a write to it stays inside', async () => {
    await apply([
      { name: 'l', flag: '2', link: path.join(outside, 'secret') },
      { name: 'h', flag: '1', link: 'l' },
      { name: 'h', content: 'x' },
    ]);
    expectOutsideUntouched();
    expect(tree(root)).toEqual({ l: `-> ${path.join(outside, 'secret')}`, h: 'x' });
  });

  it('removals do not follow links: a whiteout, an opaque mark, a directory replaced', async () => {
    await apply(
      [
        { name: 'd/l', flag: '2', link: outside },
        { name: 'e', flag: '2', link: outside },
        { name: 'f', flag: '2', link: outside },
      ],
      [{ name: 'd/.wh..wh..opq' }, { name: 'e/.wh.secret' }, { name: 'f/.wh..wh..opq' }],
      [{ name: 'd', content: '' }],
    );
    expectOutsideUntouched();
  });

  it('bounds hold: bytes, entries, depth, names, headers', async () => {
    const small = { bytes: 100, entries: 3 };
    const bounded = (entries: readonly TarSpec[]): Promise<string> =>
      applyLayer(root, chunks(tarOf(entries)), new UnpackBudget(small)).then(
        () => 'applied',
        (error: unknown) => String((error as { code?: unknown }).code),
      );
    expect(
      await bounded([
        { name: 'a', content: 'x'.repeat(60) },
        { name: 'b', content: 'x'.repeat(60) },
      ]),
    ).toBe('E_IMAGE_TOO_LARGE');
    expect(await bounded([1, 2, 3, 4].map((n) => ({ name: `n${n}` })))).toBe('E_IMAGE_TOO_LARGE');
    expect(await refused([{ name: 'd/'.repeat(129) + 'x' }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await refused([{ name: 'n'.repeat(256) }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await refused([{ name: `${'n'.repeat(200)}/`.repeat(21) }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await refused([{ name: 'x', flag: 'x', size: 2 ** 31 }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await refused([{ name: 'x', size: 2 ** 33 - 1 }])).toMatch(/^E_IMAGE_INVALID.*cut short/);
  });

  it('a damaged archive is refused at whatever byte it ends', async () => {
    const whole = tarOf([{ name: 'a', content: 'x'.repeat(700) }, { name: 'b/' }]);
    for (let cut = 0; cut < whole.length - 1024; cut += 128) {
      const failed = await applyLayer(root, chunks(whole.subarray(0, cut)), new UnpackBudget()).catch(
        (error: unknown) => error,
      );
      expect(failed).toMatchObject({ code: 'E_IMAGE_INVALID' });
      rmSync(root, { recursive: true });
      mkdirSync(root);
    }
  });
});

describe('whatever an archive says', () => {
  const name = fc
    .array(fc.constantFrom('a', 'b', 'c', '..', '.', '', '.wh.a', '.wh..wh..opq', '.wh...'), {
      minLength: 1,
      maxLength: 4,
    })
    .map((parts) => parts.join('/'));
  const link = fc.oneof(
    name,
    fc.constantFrom('/', '..', '../..', '/a', '/../outside', '../outside/secret', 'a/../../outside/secret'),
  );
  const spec = fc.record({
    name: fc.oneof(
      name,
      name.map((text) => `/${text}`),
    ),
    flag: fc.constantFrom('0', '1', '2', '3', '5', '6'),
    link,
    content: fc.constantFrom('', 'x'),
    mode: fc.integer({ min: 0, max: 0o7777 }),
  });

  it('nothing outside of the root changes, and nothing special is made inside', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(spec, { maxLength: 8 }), { maxLength: 3 }), async (layers) => {
        rmSync(root, { recursive: true, force: true });
        mkdirSync(root);
        // Only files have content in an archive.
        const clean = layers.map((layer) =>
          layer.map((one) => (one.flag === '0' ? one : { ...one, content: '' })),
        );
        const outcome = await refused(...clean);
        expect(outcome).toMatch(/^(?:applied$|E_IMAGE_(?:INVALID|TOO_LARGE) )/);
        expectOutsideUntouched();
        expect(
          execFileSync('find', [
            root,
            '(',
            '-type',
            'b',
            '-o',
            '-type',
            'c',
            '-o',
            '-type',
            'p',
            '-o',
            '-perm',
            '/6000',
            ')',
          ]).toString(),
        ).toBe('');
      }),
      { numRuns: 300 },
    );
  });

  it('bytes that are no archive end in one clear answer', async () => {
    const whole = tarOf([{ name: 'a', content: 'hello' }, pax({ path: 'long' }), { name: 'b' }]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }),
        async (edits) => {
          rmSync(root, { recursive: true, force: true });
          mkdirSync(root);
          const bytes = Buffer.from(whole);
          for (const [at, value] of edits) bytes[at] = value;
          const error: unknown = await applyLayer(root, chunks(bytes), new UnpackBudget()).catch(
            (problem: unknown) => problem,
          );
          if (error !== undefined) expect(error).toMatchObject({ code: expect.stringMatching(/^E_IMAGE_/) });
          expectOutsideUntouched();
        },
      ),
      { numRuns: 300 },
    );
  });
});
