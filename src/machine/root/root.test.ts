import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RootSource } from '../contract.ts';
import { mkfsArgs } from './mkfs.ts';
import { partsOf, rulesOf, sourceKey } from './source.ts';
import { surveyRoot } from './survey.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync('/var/tmp/gb-root-');
});
afterEach(() => {
  chmodSync(dir, 0o700);
  rmSync(dir, { recursive: true, force: true });
});

function put(name: string, mode = 0o644, text = 'x'): void {
  const file = path.join(dir, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, mode);
}

const tree = (): RootSource => ({ kind: 'tree', root: dir, label: 'a directory' });
const fact = (target: string, source = target, link?: string) => ({
  ...{ path: target, source, why: '' },
  ...(link === undefined ? {} : { link }),
});
const survey = (source: RootSource) => surveyRoot(partsOf(source), rulesOf(source));

describe('what a root holds', () => {
  it('of an image everything that the caller reads, but its accounts and what the guest makes itself', async () => {
    for (const name of [
      'usr/bin/tool',
      'etc/passwd',
      'etc/shadow',
      'etc/gshadow-',
      'tmp/junk',
      'proc/x',
      'dev/x',
    ])
      put(name);
    put('root/notes', 0o600, 'mine');
    put('usr/secret', 0o000);
    symlinkSync('/etc/shadow', path.join(dir, 'usr/link'));
    const { entries, bytes, excluded } = await survey(tree());
    expect([...excluded].sort()).toEqual([
      ...['dev', 'etc/gshadow-', 'etc/passwd', 'etc/shadow'],
      ...['proc', 'tmp', 'usr/secret'],
    ]);
    // The root, etc, root, root/notes, usr, usr/bin, usr/bin/tool, usr/link.
    expect([entries, bytes]).toEqual([8, 5]);
  });

  it('of the host what everybody reads, without the files of guests and what is to stand empty', async () => {
    chmodSync(dir, 0o755);
    const host = (hidden: readonly string[]): RootSource => ({
      kind: 'host',
      system: [fact('/usr', dir), fact('/bin', '/bin', 'usr/bin')],
      hidden,
    });
    put('bin/tool');
    put('bin/mine', 0o600);
    put('lib/private/key');
    chmodSync(path.join(dir, 'lib/private'), 0o700);
    put('local/lib/glovebox/kernel/boot/vmlinuz');
    put('home/me/.ssh/id');
    const { entries, excluded } = await survey(host([]));
    expect(excluded).toEqual(['usr/bin/mine', 'usr/lib/private', 'usr/local/lib/glovebox']);
    const without = await surveyRoot(partsOf(host([])), {
      ...rulesOf(host([])),
      empties: (one) => one === '/usr/home',
    });
    expect(entries - without.entries).toBe(3);
    expect(rulesOf(host(['/usr/lib'])).empties('/usr/lib')).toBe(true);
    expect(rulesOf(host(['/nowhere'])).empties('/nowhere')).toBe(false);
  });

  it('leaves out the directory of an unreadable name that no argument can say', async () => {
    mkdirSync(path.join(dir, 'a'));
    const odd = Buffer.concat([Buffer.from(path.join(dir, 'a/')), Buffer.from([0xff])]);
    writeFileSync(odd, 'x');
    chmodSync(odd, 0);
    expect((await survey(tree())).excluded).toEqual(['a']);
    rmSync(path.join(dir, 'a'), { recursive: true });
    const top = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff])]);
    writeFileSync(top, 'x');
    chmodSync(top, 0);
    await expect(survey(tree())).rejects.toMatchObject({ code: 'E_IMAGE_INVALID' });
  });

  it('is bounded, and ends when it is told to', async () => {
    for (let i = 0; i < 130; i++) mkdirSync(path.join(dir, ...Array.from({ length: i + 1 }, () => 'd')));
    await expect(survey(tree())).rejects.toMatchObject({
      code: 'E_IMAGE_TOO_LARGE',
      why: expect.stringContaining('deeper') as unknown,
    });
    const many = { allows: () => false, leavesOut: () => false, empties: () => false };
    for (let i = 0; i <= 2000; i++) put(`many/${i}`);
    const parts = Array.from({ length: 2001 }, (_, i) => ({
      source: path.join(dir, 'many', String(i)),
      target: `/many/${i}`,
    }));
    await expect(surveyRoot(parts, many)).rejects.toMatchObject({ code: 'E_IMAGE_TOO_LARGE' });
    const abort = AbortSignal.abort();
    await expect(surveyRoot(parts, { ...many, allows: () => true }, abort)).rejects.toMatchObject({
      code: 'E_ABORTED',
    });
  });
});

describe('the key of a root', () => {
  const changes: readonly (readonly [string, () => void])[] = [
    ['a file is added', () => put('usr/lib/b')],
    ['a file is overwritten', () => put('usr/lib/a', 0o644, 'y')],
    ['a mode changes', () => chmodSync(path.join(dir, 'usr/lib/a'), 0o755)],
    ['a file is removed', () => rmSync(path.join(dir, 'usr/lib/a'))],
    ['a link is made', () => linkSync(path.join(dir, 'usr/lib/a'), path.join(dir, 'usr/lib/c'))],
  ];

  it.each(changes)('of a directory changes when %s', async (_what, change) => {
    put('usr/lib/a');
    const before = await sourceKey(tree());
    expect(await sourceKey(tree())).toBe(before);
    change();
    expect(await sourceKey(tree())).not.toBe(before);
  });

  it('of an image is that of its layers, wherever it lies', async () => {
    const image = (key: string): RootSource => ({ kind: 'tree', root: '/nowhere', label: 'x', key });
    expect(await sourceKey(image('a'))).toBe(
      await sourceKey({ ...image('a'), kind: 'tree', root: '/elsewhere', label: 'y' }),
    );
    expect(await sourceKey(image('a'))).not.toBe(await sourceKey(image('b')));
  });

  it('of the host changes with the shown files and with what stands empty', async () => {
    put('etc/a');
    const host = (hidden: readonly string[] = []): RootSource => ({
      kind: 'host',
      system: [
        ...[fact('/usr'), { ...fact('/etc', path.join(dir, 'etc')), dir: true as const }],
        ...[fact('/etc/a', path.join(dir, 'etc/a')), fact('/bin', '/bin', 'usr/bin')],
      ],
      hidden,
    });
    const before = await sourceKey(host());
    expect(await sourceKey(host())).toBe(before);
    expect(await sourceKey(host(['/usr/lib']))).not.toBe(before);
    put('etc/not-shown');
    expect(await sourceKey(host())).toBe(before);
    put('etc/a', 0o644, 'other');
    expect(await sourceKey(host())).not.toBe(before);
  });
});

describe('mkfsArgs', () => {
  const input = {
    bubblewrap: '/usr/bin/bwrap',
    mkfs: '/usr/bin/mkfs.erofs',
    system: [fact('/usr'), fact('/bin', '/bin', 'usr/bin')],
    output: '/cache/tmp/1/made/data',
  };
  const jail =
    '--unshare-all --die-with-parent --new-session --cap-drop ALL --clearenv --ro-bind /usr /usr --symlink usr/bin /bin --dev /dev --ro-bind /usr/bin/mkfs.erofs /mkfs';
  const run = '--bind /cache/tmp/1/made /out --remount-ro / --chdir / -- /mkfs --quiet -zlz4 -x-1 --all-root';

  it('packs a directory', () => {
    const source: RootSource = { kind: 'tree', root: '/images/x', label: 'x' };
    expect(mkfsArgs({ ...input, source, excluded: ['etc/shadow'], hidden: [] }).join(' ')).toBe(
      `${jail} --ro-bind /images/x /view ${run} --exclude-path=etc/shadow /out/data /view`,
    );
  });

  it('packs the trees of the host where the other tiers show them', () => {
    const system = [...input.system, fact('/etc/localtime', '/usr/share/zoneinfo/UTC')];
    const source: RootSource = { kind: 'host', system, hidden: ['/usr/home'] };
    expect(mkfsArgs({ ...input, source, excluded: [], hidden: ['/usr/home'] }).join(' ')).toBe(
      `${jail} --symlink usr/bin /view/bin --ro-bind /usr /view/usr --ro-bind /usr/share/zoneinfo/UTC /view/etc/localtime --tmpfs /view/usr/home ${run} /out/data /view`,
    );
  });
});
