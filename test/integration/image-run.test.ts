import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { Sandbox } from '../../src/index.ts';
import { Running } from '../support/attack.ts';
import { TestBox, type BoxResult } from '../support/box.ts';
import { imageOf, TestRegistry } from '../support/registry.ts';
import { smallRootfs, tarTree } from '../support/rootfs.ts';
import { spawn } from 'node:child_process';
import { GLOVEBOX } from '../support/box.ts';
import { needsProgram } from '../support/attack.ts';

/** A box whose store has the image `small`. */
async function boxWithImage(change: (root: string) => void = () => undefined): Promise<TestBox> {
  const box = new TestBox();
  const root = smallRootfs(path.join(box.base, 'rootfs'));
  change(root);
  const result = await box.cli([
    'image',
    'import',
    tarTree(root, path.join(box.base, 'rootfs.tar')),
    'small',
  ]);
  expect(result).toMatchObject({ code: 0 });
  return box;
}

const inImage = (box: TestBox, script: string, flags: readonly string[] = []): Promise<BoxResult> =>
  box.run(['/bin/sh', '-c', script], { flags: ['--image', 'small', ...flags] });

/** Every path of a tree, with its kind: what must not change. */
function listing(dir: string): readonly string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .map((name) => `${name} ${lstatSync(path.join(dir, name)).mode}`)
    .sort();
}

const storeRoot = (box: TestBox): string => {
  const rootfs = path.join(box.home, '.cache/glovebox/images/rootfs');
  return path.join(rootfs, readdirSync(rootfs)[0] ?? '', 'root');
};

describe.skipIf(needsProgram('bwrap') !== undefined)('run --image', () => {
  it('stands on the image: its files, read-only, and nothing of the host', async () => {
    using box = await boxWithImage();
    const before = listing(storeRoot(box));
    const result = await inImage(
      box,
      'cat /etc/marker /opt/tool/version; ls /usr/share 2>&1; touch /usr/x /etc/x /opt/x /var/x 2>&1; echo >f && echo wrote',
    );
    expect(
      result.stdout.replaceAll(/touch: cannot touch '([^']+)': Read-only file system/g, '$1 read-only'),
    ).toBe(
      "from the image\n1\nls: cannot access '/usr/share': No such file or directory\n/usr/x read-only\n/etc/x read-only\n/opt/x read-only\n/var/x read-only\nwrote\n",
    );
    expect(listing(storeRoot(box))).toEqual(before);
    expect(box.records().at(-1)).toMatchObject({ kind: 'run.end' });
  });

  it('has our own accounts, resolver and hosts over the image’s, and no password hashes', async () => {
    using box = await boxWithImage();
    const result = await inImage(box, 'id -un; cat /etc/resolv.conf /etc/passwd; cat /etc/shadow 2>&1');
    expect(result.stdout).toContain('sandbox\nnameserver 127.0.0.1\n');
    expect(result.stdout).toContain('www-data:x:33:33:www:/var/www:/usr/sbin/nologin\n');
    expect(result.stdout).not.toContain('$6$');
    expect(result.stdout).toContain('cat: /etc/shadow: No such file or directory\n');
  });

  it('mounts where the image has no place, without making one in it', async () => {
    using box = await boxWithImage((root) => {
      mkdirSync(path.join(root, 'home/someone'), { recursive: true });
      rmSync(path.join(root, 'var/tmp'), { recursive: true });
      writeFileSync(path.join(root, 'var/kept'), 'kept');
    });
    const before = listing(storeRoot(box));
    const outside = path.join(box.base, 'data');
    mkdirSync(outside);
    writeFileSync(path.join(outside, 'file'), 'data');
    const script = `cat /var/kept; touch /var/tmp/x && echo tmp; cat ${outside}/file; pwd; ls /home`;
    const result = await inImage(box, script, ['--read', outside]);
    expect(result.stdout).toBe(`kepttmp\ndata${box.workspace}\nsomeone\n`);
    expect(listing(storeRoot(box))).toEqual(before);
  });

  it('a symlink of the image where something is mounted gives way', async () => {
    using box = await boxWithImage((root) => {
      rmSync(path.join(root, 'var'), { recursive: true });
      symlinkSync('usr', path.join(root, 'var'));
      rmSync(path.join(root, 'tmp'), { recursive: true });
      symlinkSync('/etc', path.join(root, 'tmp'));
      rmSync(path.join(root, 'etc'), { recursive: true });
      symlinkSync('usr/lib', path.join(root, 'etc'));
    });
    const before = listing(storeRoot(box));
    const result = await inImage(box, 'touch /tmp/a /var/tmp/b f && echo fine; ls -d /etc/resolv.conf');
    expect(result).toMatchObject({ code: 0, stdout: 'fine\n/etc/resolv.conf\n' });
    expect(listing(storeRoot(box))).toEqual(before);
  });

  it('takes variables of the image, which weigh less than ours, and lets a run start in its directories', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    const root = smallRootfs(path.join(box.base, 'rootfs'));
    const tar = readFileSync(tarTree(root, path.join(box.base, 'rootfs.tar')));
    const config = {
      Env: [
        'GREETING=hello',
        'HOME=/evil',
        'PATH=/opt/tool:/usr/bin',
        'http_proxy=http://evil',
        '1BAD=x',
        'LD_PRELOAD=/x.so',
      ],
      User: 'root',
      WorkingDir: '/opt',
    };
    registry.add('small', 'latest', imageOf({ layers: [], config, rawLayers: [tar] }));
    expect(await box.cli(['image', 'pull', `${registry.host}/small`, '--name', 'small'])).toMatchObject({
      code: 0,
    });
    const result = await inImage(box, 'echo $GREETING $HOME $PATH $http_proxy; pwd; id -u', [
      '--cwd',
      '/opt/tool',
    ]);
    expect(result.stdout).toMatch(
      new RegExp(`^hello ${box.home} /opt/tool:/usr/bin http://127\\.0\\.0\\.1:\\d+\n/opt/tool\n1000\n$`),
    );
  });

  it('stands on a directory too, and explains it', async () => {
    using box = new TestBox();
    const root = smallRootfs(path.join(box.base, 'rootfs'));
    const result = await box.run(['/bin/cat', '/etc/marker'], { flags: ['--image', root] });
    expect(result).toMatchObject({ code: 0, stdout: 'from the image\n' });
    const explained = await box.cli(['explain', '--image', root, '--json']);
    const { plan } = JSON.parse(explained.stdout) as {
      plan: { view: { target: string; source?: string }[] };
    };
    expect(plan.view.find(({ target }) => target === '/usr')?.source).toBe(path.join(root, 'usr'));
  });

  it('says which image there is not', async () => {
    using box = await boxWithImage();
    const result = await box.run(['true'], { flags: ['--image', 'smal'] });
    expect(result.stderr).toContain('there is no image "smal"');
    expect(result.stderr).toContain('Did you mean small?');
    expect(result.code).toBe(125);
    expect(box.records().at(-1)).toMatchObject({ kind: 'run.refused', data: { code: 'E_IMAGE_NOT_FOUND' } });
  });

  it('the SDK stands on it as well', async () => {
    using box = await boxWithImage();
    await using sandbox = await Sandbox.create({
      workspace: box.workspace,
      image: 'small',
      hostEnv: box.env(),
    });
    expect((await sandbox.commands.run(['cat', '/etc/marker'])).stdout).toBe('from the image\n');
  });

  it('a running sandbox keeps its image through remove and prune', async () => {
    using box = await boxWithImage();
    const child = spawn(
      process.execPath,
      [GLOVEBOX, 'run', '--image', 'small', '--', '/bin/sh', '-c', 'echo up; read line; cat /etc/marker'],
      { cwd: box.workspace, env: box.env(), stdio: 'pipe' },
    );
    const running = new Running(child);
    await running.said('up');
    expect(await box.cli(['image', 'remove', 'small'])).toMatchObject({ code: 0 });
    expect(JSON.parse((await box.cli(['image', 'prune', '--json'])).stdout)).toEqual({
      removed: { images: 0, blobs: 0, guests: 0 },
    });
    expect(existsSync(path.join(storeRoot(box), 'etc/marker'))).toBe(true);
    child.stdin.end('\n');
    expect(await running.ended).toMatchObject({ code: 0, stdout: 'up\nfrom the image\n' });
    expect(JSON.parse((await box.cli(['image', 'prune', '--json'])).stdout)).toEqual({
      removed: { images: 1, blobs: 0, guests: 0 },
    });
  });
});

describe('filesystem.base', () => {
  it('comes from the policy, and a lower layer changes it only where nobody above says otherwise', async () => {
    using box = await boxWithImage();
    box.policy('version: 1\nfilesystem: { base: image:small }\n');
    expect(await box.run(['/bin/cat', '/etc/marker'])).toMatchObject({ code: 0, stdout: 'from the image\n' });
    expect((await box.run(['/bin/cat', '/etc/marker'], { flags: ['--image', 'host'] })).code).toBe(1);
    const explained = await box.cli(['policy', 'explain']);
    expect(explained.stdout).toMatch(/filesystem\.base\s+image:small/);
  });

  it('a project policy that names one widens, and is asked about', async () => {
    using box = await boxWithImage();
    box.write('.glovebox/policy.yaml', 'version: 1\nfilesystem: { base: image:small }\n');
    const shown = await box.cli(['policy', 'trust', '--yes']);
    expect(`${shown.stdout}${shown.stderr}`).toContain('filesystem.base host → image:small');
  });
});
