import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pax, tarOf, type TarSpec } from '../../../test/support/tar.ts';
import { UnpackBox } from '../../../test/support/unpack.ts';

let box: UnpackBox;
beforeEach(() => {
  box = new UnpackBox();
});
afterEach(() => box[Symbol.dispose]());

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
    expect(await box.refused(entries)).toMatch(/^E_IMAGE_INVALID /);
    box.expectOutsideUntouched();
  });

  it('a write through symlinks stays inside', async () => {
    await box.apply([
      { name: 'abs', flag: '2', link: box.outside },
      { name: 'abs/evil', content: 'x' },
      { name: 'rel', flag: '2', link: '../../../../..' + box.outside },
      { name: 'rel/evil', content: 'x' },
      { name: 'up', flag: '2', link: '..' },
      { name: 'up/evil2', content: 'x' },
    ]);
    box.expectOutsideUntouched();
    expect(existsSync(path.join(box.root, box.outside, 'evil'))).toBe(true);
    expect(existsSync(path.join(box.root, 'evil2'))).toBe(true);
  });

  it('a file over a symlink replaces the link and not what it leads to', async () => {
    await box.apply(
      [{ name: 'l', flag: '2', link: path.join(box.outside, 'secret') }],
      [{ name: 'l', content: 'mine' }],
    );
    box.expectOutsideUntouched();
    expect(box.tree()).toEqual({ l: 'mine' });
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
      'link' in entry && entry.link === 'OUTSIDE' ? { ...entry, link: box.outside } : entry,
    );
    await box.apply(real);
    await box.apply(real.slice(0, 1), real.slice(1));
    box.expectOutsideUntouched();
  });

  it('a hard link to a symlink is another symlink, and a write to it stays inside', async () => {
    await box.apply([
      { name: 'l', flag: '2', link: path.join(box.outside, 'secret') },
      { name: 'h', flag: '1', link: 'l' },
      { name: 'h', content: 'x' },
    ]);
    box.expectOutsideUntouched();
    expect(box.tree()).toEqual({ l: `-> ${path.join(box.outside, 'secret')}`, h: 'x' });
  });

  it('removals do not follow links: a whiteout, an opaque mark, a directory replaced', async () => {
    await box.apply(
      [
        { name: 'd/l', flag: '2', link: box.outside },
        { name: 'e', flag: '2', link: box.outside },
        { name: 'f', flag: '2', link: box.outside },
      ],
      [{ name: 'd/.wh..wh..opq' }, { name: 'e/.wh.secret' }, { name: 'f/.wh..wh..opq' }],
      [{ name: 'd', content: '' }],
    );
    box.expectOutsideUntouched();
  });

  it('bounds hold: bytes, entries, depth, names, headers', async () => {
    const small = { bytes: 100, entries: 3 };
    const large = [
      { name: 'a', content: 'x'.repeat(60) },
      { name: 'b', content: 'x'.repeat(60) },
    ];
    expect(await box.refusedWithin(small, large)).toMatch(/^E_IMAGE_TOO_LARGE/);
    const many = [1, 2, 3, 4].map((n) => ({ name: `n${n}` }));
    expect(await box.refusedWithin(small, many)).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await box.refusedWithin(small, [{ name: 'q/b/c/x' }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await box.refused([{ name: 'd/'.repeat(129) + 'x' }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await box.refused([{ name: 'n'.repeat(256) }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await box.refused([{ name: `${'n'.repeat(200)}/`.repeat(21) }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await box.refused([{ name: 'x', flag: 'x', size: 2 ** 31 }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await box.refused([{ name: 'x', size: 2 ** 33 - 1 }])).toMatch(/^E_IMAGE_INVALID.*cut short/);
  });

  it.each([
    ['deeper than an entry may', 'd/'.repeat(200), 'too deep'],
    ['to a name that no file system holds', 'n'.repeat(256), 'too long'],
    [
      'to a path that the kernel does not take',
      `${'n'.repeat(200)}/`.repeat(20) + 'm'.repeat(70),
      'too long',
    ],
  ])('a symlink leads %s', async (_, link, why) => {
    const refusal = await box.refused([{ name: 'l', flag: '2', link }, { name: 'l/x' }]);
    expect(refusal).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(refusal).toContain(why);
  });

  it('headers in a row without an entry', async () => {
    const headers = Array.from({ length: 9 }, () => pax({ path: 'x' }));
    expect(await box.refused([...headers, { name: 'y' }])).toMatch(/^E_IMAGE_TOO_LARGE/);
    expect(await box.refused([...headers.slice(1), { name: 'y' }])).toBe('applied');
  });

  it('a damaged archive is refused at whatever byte it ends', async () => {
    const whole = tarOf([{ name: 'a', content: 'x'.repeat(700) }, { name: 'b/' }]);
    for (let cut = 0; cut < whole.length - 1024; cut += 128) {
      const failed = await box.applyBytes(whole.subarray(0, cut)).catch((error: unknown) => error);
      expect(failed).toMatchObject({ code: 'E_IMAGE_INVALID' });
      box.clear();
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

  it('nothing box.outside of the root changes, and nothing special is made inside', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(spec, { maxLength: 8 }), { maxLength: 3 }), async (layers) => {
        box.clear();
        // Only files have content in an archive.
        const clean = layers.map((layer) =>
          layer.map((one) => (one.flag === '0' ? one : { ...one, content: '' })),
        );
        const outcome = await box.refused(...clean);
        expect(outcome).toMatch(/^(?:applied$|E_IMAGE_(?:INVALID|TOO_LARGE) )/);
        box.expectOutsideUntouched();
        expect(
          execFileSync('find', [
            box.root,
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
          box.clear();
          const bytes = Buffer.from(whole);
          for (const [at, value] of edits) bytes[at] = value;
          const error: unknown = await box.applyBytes(bytes).catch((problem: unknown) => problem);
          if (error !== undefined) expect(error).toMatchObject({ code: expect.stringMatching(/^E_IMAGE_/) });
          box.expectOutsideUntouched();
        },
      ),
      { numRuns: 300 },
    );
  });
});
