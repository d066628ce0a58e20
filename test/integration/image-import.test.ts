import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { GLOVEBOX, TestBox } from '../support/box.ts';
import { hostArchitecture, imageOf, type TestImage } from '../support/registry.ts';
import { tarOf, type TarSpec } from '../support/tar.ts';

const store = (box: TestBox, part = ''): string => path.join(box.home, '.cache/glovebox/images', part);

async function rootOf(box: TestBox, name: string): Promise<string> {
  const { stdout } = await box.cli(['image', 'list', '--json']);
  const { images } = JSON.parse(stdout) as { images: { name: string; root: string }[] };
  return images.find((image) => image.name === name)?.root ?? 'no such image';
}

const IMAGE = imageOf({
  layers: [[{ name: 'a/x', content: 'old' }], [{ name: 'a/x', content: 'new' }, { name: 'a/.wh.y' }]],
  config: { Env: ['A=1'] },
});

/** The files of an OCI layout; each image under the platform that the index says it has. */
function layoutFiles(
  image: TestImage,
  ...others: readonly (readonly [TestImage, string])[]
): Readonly<Record<string, Buffer>> {
  const all: readonly (readonly [TestImage, string | undefined])[] = [[image, undefined], ...others];
  const manifests = all.map(([{ mediaType, manifest }, architecture]) => ({
    mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    ...(architecture === undefined ? {} : { platform: { os: 'linux', architecture } }),
  }));
  const blobs = all.flatMap(([one]) => [one.manifest, one.config, ...one.layers]);
  return {
    'oci-layout': Buffer.from('{"imageLayoutVersion":"1.0.0"}'),
    'index.json': Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })),
    ...Object.fromEntries(blobs.map(({ digest, bytes }) => [`blobs/${digest.replace(':', '/')}`, bytes])),
  };
}

const tarFiles = (files: Readonly<Record<string, Buffer | TarSpec>>): Buffer =>
  tarOf(
    Object.entries(files).map(([name, file]) => (Buffer.isBuffer(file) ? { name, content: file } : file)),
  );

/** What `docker save` of engines before 25 writes. */
function savedFiles(architecture = hostArchitecture): Readonly<Record<string, Buffer | TarSpec>> {
  const layer = tarOf([{ name: 'a/x', content: 'saved' }]);
  const config = imageOf({ layers: [[{ name: 'a/x', content: 'saved' }]], architecture }).config;
  const id = config.digest.slice(7);
  return {
    [`${id}.json`]: config.bytes,
    [`${'b'.repeat(64)}/layer.tar`]: layer,
    [`${'c'.repeat(64)}/layer.tar`]: {
      name: `${'c'.repeat(64)}/layer.tar`,
      flag: '2',
      link: `../${'b'.repeat(64)}/layer.tar`,
    },
    'manifest.json': Buffer.from(
      JSON.stringify([
        { Config: `${id}.json`, RepoTags: ['app:1'], Layers: [`${'c'.repeat(64)}/layer.tar`] },
      ]),
    ),
    repositories: Buffer.from('{}'),
  };
}

describe('image import', () => {
  it.each<[string, () => Buffer]>([
    ['a tar', () => tarOf([{ name: './' }, { name: './a/x', content: 'new' }])],
    ['a gzip tar', () => gzipSync(tarOf([{ name: 'a/x', content: 'new' }]))],
    ['an OCI layout', () => tarFiles(layoutFiles(IMAGE))],
    ['a gzip OCI layout', () => gzipSync(tarFiles(layoutFiles(IMAGE)))],
  ])('takes %s, from a file and from standard input', async (_, bytes) => {
    using box = new TestBox();
    const file = box.write('image.tar', bytes());
    expect(await box.cli(['image', 'import', file, 'one'])).toMatchObject({ code: 0 });
    const piped = execFileSync(
      'sh',
      ['-c', 'exec "$0" dist/bin/glovebox.js image import - two < "$1"', process.execPath, file],
      {
        cwd: path.resolve(import.meta.dirname, '../..'),
        env: box.env(),
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    expect(piped.toString()).toBe('');
    expect(readFileSync(path.join(await rootOf(box, 'one'), 'a/x'), 'utf8')).toBe('new');
    expect(await rootOf(box, 'two')).toBe(await rootOf(box, 'one'));
    expect(readdirSync(store(box, 'tmp'))).toEqual([]);
    expect(readdirSync(store(box, 'leases'))).toEqual([]);
  });

  it('takes what docker save wrote, with its links', async () => {
    using box = new TestBox();
    const file = box.write('saved.tar', tarFiles(savedFiles()));
    expect(await box.cli(['image', 'import', file, 'app'])).toMatchObject({ code: 0 });
    expect(readFileSync(path.join(await rootOf(box, 'app'), 'a/x'), 'utf8')).toBe('saved');
  });

  it('takes a directory and an OCI layout that is one', async () => {
    using box = new TestBox();
    box.write('tree/bin/tool', 'x');
    symlinkSync('/etc/shadow', path.join(box.workspace, 'tree/link'));
    for (const [name, bytes] of Object.entries(layoutFiles(IMAGE))) box.write(`layout/${name}`, bytes);
    expect(await box.cli(['image', 'import', 'tree', 'tree'])).toMatchObject({ code: 0 });
    expect(await box.cli(['image', 'import', 'layout', 'layout'])).toMatchObject({ code: 0 });
    expect(readdirSync(await rootOf(box, 'tree')).sort()).toEqual(['bin', 'link']);
    expect(readFileSync(path.join(await rootOf(box, 'layout'), 'a/x'), 'utf8')).toBe('new');
  });

  const FOREIGN = imageOf({ layers: [[{ name: 'a/x', content: 'foreign' }]], architecture: 'riscv64' });
  it.each<[string, () => Readonly<Record<string, Buffer | TarSpec>>]>([
    ['an OCI layout of one image', () => layoutFiles(FOREIGN)],
    ['what docker save wrote', () => savedFiles('riscv64')],
    ['a layout whose index lies', () => layoutFiles(FOREIGN, [FOREIGN, hostArchitecture])],
    ['a layout of several platforms', () => layoutFiles(FOREIGN, [FOREIGN, 'riscv64'])],
  ])('%s for another platform is refused', async (_, files) => {
    using box = new TestBox();
    const file = box.write('image.tar', tarFiles(files()));
    const refused = await box.cli(['image', 'import', file, 'x']);
    expect(refused).toMatchObject({ code: 125, stderr: expect.stringContaining('[E_IMAGE_PLATFORM]') });
    expect(refused.stderr).toContain(`is for linux/riscv64, not for linux/${hostArchitecture}`);
    expect(readdirSync(store(box, 'rootfs'))).toEqual([]);
  });

  it('takes the image of this platform, or of the one that is named, out of a layout that has both', async () => {
    using box = new TestBox();
    const files = layoutFiles(FOREIGN, [IMAGE, hostArchitecture], [FOREIGN, 'riscv64']);
    const file = box.write('image.tar', tarFiles(files));
    const text = async (name: string): Promise<string> =>
      readFileSync(path.join(await rootOf(box, name), 'a/x'), 'utf8');
    expect(await box.cli(['image', 'import', file, 'ours'])).toMatchObject({ code: 0 });
    expect(await text('ours')).toBe('new');
    const named = ['image', 'import', file, 'theirs', '--platform', 'linux/riscv64'];
    expect(await box.cli(named)).toMatchObject({ code: 0 });
    expect(await text('theirs')).toBe('foreign');
    const wrong = await box.cli(['image', 'import', file, 'x', '--platform', 'riscv64']);
    expect(wrong.stderr).toContain('riscv64 is not a platform');
  });

  it.each<[string, Buffer | undefined, string]>([
    ['no file', undefined, 'E_IMAGE_NOT_FOUND'],
    ['an empty file', Buffer.alloc(0), 'E_IMAGE_INVALID'],
    ['text', Buffer.from('this is no archive\n'.repeat(100)), 'E_IMAGE_INVALID'],
    ['half a tar', tarOf([{ name: 'a/x', content: 'x'.repeat(5000) }]).subarray(0, 3000), 'E_IMAGE_INVALID'],
    ['half a gzip', gzipSync(tarOf([{ name: 'a/x', content: 'x' }])).subarray(0, 60), 'E_IMAGE_INVALID'],
    ['no entries', tarOf([]), 'E_IMAGE_INVALID'],
    [
      'a layout without its blobs',
      tarFiles({
        'oci-layout': Buffer.from('{}'),
        'index.json': layoutFiles(IMAGE)['index.json'] ?? Buffer.alloc(0),
      }),
      'E_IMAGE_INVALID',
    ],
    ['a climbing name', tarOf([{ name: 'ok' }, { name: '../../evil' }]), 'E_IMAGE_INVALID'],
  ])('%s is refused, and nothing is left', async (_, bytes, code) => {
    using box = new TestBox();
    if (bytes !== undefined) box.write('image.tar', bytes);
    const result = await box.cli(['image', 'import', 'image.tar', 'x']);
    expect(result.stderr).toContain(`[${code}]`);
    expect(result.code).toBe(125);
    for (const part of ['rootfs', 'refs', 'tmp', 'leases', 'locks'])
      expect(readdirSync(store(box, part))).toEqual([]);
    expect(box.records().at(-1)).toMatchObject({
      kind: 'image.refused',
      data: { action: 'import', name: 'x', code },
    });
  });

  it('a full disk is one clear error, and leaves nothing', async () => {
    using box = new TestBox();
    const file = box.write('image.tar', tarOf([{ name: 'big', content: Buffer.alloc(3_000_000, 7) }]));
    mkdirSync(path.join(box.home, '.cache/glovebox'), { recursive: true, mode: 0o700 });
    const script = `mount -t tmpfs -o size=1m,mode=0700 none "$HOME/.cache/glovebox" && "$0" "$1" image import "$2" x; code=$?; find "$HOME/.cache/glovebox" -type f; exit $code`;
    const done = spawnSync(
      'unshare',
      ['-m', '-r', 'sh', '-c', script, process.execPath, path.resolve('dist/bin/glovebox.js'), file],
      {
        cwd: box.workspace,
        env: box.env(),
        encoding: 'utf8',
      },
    );
    expect(done.stderr).toContain('[E_IMAGE_SPACE]');
    expect(done).toMatchObject({ status: 125, stdout: '' });
  });
});

describe('the store', () => {
  it('removes what only one name used, and keeps what another uses', async () => {
    using box = new TestBox();
    box.write('image.tar', tarOf([{ name: 'x' }]));
    for (const name of ['one', 'two']) await box.cli(['image', 'import', 'image.tar', name]);
    expect(await box.cli(['image', 'remove', 'one'])).toMatchObject({ code: 0 });
    expect(readdirSync(store(box, 'rootfs'))).toHaveLength(1);
    expect(await box.cli(['image', 'remove', 'two'])).toMatchObject({ code: 0 });
    expect(readdirSync(store(box, 'rootfs'))).toEqual([]);
    const gone = await box.cli(['image', 'remove', 'two']);
    expect(gone.stderr).toContain('there is no image "two"');
  });

  it('sweeps what a killed import left', async () => {
    using box = new TestBox();
    box.write('image.tar', tarOf([{ name: 'x' }]));
    await box.cli(['image', 'list']);
    const left = mkdtempSync(store(box, 'tmp/999999999-1-dead'));
    mkdirSync(path.join(left, 'image/root/usr'), { recursive: true });
    writeFileSync(
      store(box, 'leases/dead.json'),
      JSON.stringify({ owner: { pid: 999999999, startTicks: '1' }, chains: [], blobs: [], all: true }),
    );
    expect(await box.cli(['image', 'import', 'image.tar', 'x'])).toMatchObject({ code: 0 });
    expect(existsSync(left)).toBe(false);
    const other = path.join(store(box, 'rootfs'), 'a'.repeat(64));
    mkdirSync(other);
    const pruned = await box.cli(['image', 'prune', '--json']);
    expect(JSON.parse(pruned.stdout)).toEqual({ removed: { images: 1, blobs: 0, guests: 0 } });
    expect(existsSync(other)).toBe(false);
    expect(readdirSync(store(box, 'leases'))).toEqual([]);
  });

  it('an import that is killed leaves nothing that the next command does not sweep', async () => {
    using box = new TestBox();
    const child = spawn(process.execPath, [GLOVEBOX, 'image', 'import', '-', 'a'], {
      cwd: box.workspace,
      env: box.env(),
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.stdin.on('error', () => undefined);
    // Half of an archive, and then it waits for the rest.
    child.stdin.write(tarOf([{ name: 'big', content: Buffer.alloc(1_000_000, 1) }]).subarray(0, 500_000));
    const tmp = store(box, 'tmp');
    while (!existsSync(tmp) || readdirSync(tmp).length === 0) await delay(20);
    const ended = new Promise((resolve) => child.on('close', resolve));
    child.kill('SIGKILL');
    await ended;
    expect(readdirSync(tmp)).toHaveLength(1);
    expect(await box.cli(['image', 'prune'])).toMatchObject({ code: 0 });
    for (const part of ['tmp', 'leases', 'locks', 'rootfs', 'refs'])
      expect(readdirSync(store(box, part))).toEqual([]);
  });

  it('is private', async () => {
    using box = new TestBox();
    await box.cli(['image', 'list']);
    for (const dir of ['', 'blobs', 'rootfs', 'refs', 'leases', 'tmp', 'locks'])
      expect(statSync(store(box, dir)).mode & 0o777).toBe(0o700);
    rmSync(store(box), { recursive: true });
  });
});
