import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildImage } from '../../src/images/recipe/build.ts';
import { ImageStore } from '../../src/images/store/store.ts';
import { SandboxRecipeRunner } from '../../src/sandbox/bake.ts';
import { needsProgram } from '../support/attack.ts';
import { GLOVEBOX, TestBox } from '../support/box.ts';
import { buildRecipe } from '../support/recipe.ts';
import { smallRootfs, tarTree } from '../support/rootfs.ts';

async function baseBox(): Promise<TestBox> {
  const box = new TestBox();
  const root = smallRootfs(path.join(box.base, 'rootfs'));
  expect(
    await box.cli(['image', 'import', tarTree(root, path.join(box.base, 'base.tar')), 'base']),
  ).toMatchObject({ code: 0 });
  mkdirSync(path.join(box.workspace, 'context/sub'), { recursive: true });
  writeFileSync(path.join(box.workspace, 'context/app.sh'), 'echo app\n', { mode: 0o755 });
  writeFileSync(path.join(box.workspace, 'context/sub/data'), 'data\n');
  return box;
}

async function rootOf(box: TestBox, name: string): Promise<string> {
  const { images } = JSON.parse((await box.cli(['image', 'list', '--json'])).stdout) as {
    images: { name: string; root: string }[];
  };
  return images.find((image) => image.name === name)?.root ?? 'none';
}

describe.skipIf(needsProgram('bwrap') !== undefined)('image build', () => {
  it('bakes what a recipe says, and a run stands on it', async () => {
    using box = await baseBox();
    const recipe = `FROM base
ENV APP=/srv/app MSG="two words"
WORKDIR $APP
COPY . .
COPY ["sub/data", "/etc/made/data"]
RUN /usr/bin/touch made-here && echo "$MSG" > /etc/msg && id -u > /opt/tool/who && pwd > /opt/tool/where
`;
    const built = await buildRecipe(box, recipe);
    expect(built).toMatchObject({ code: 0 });
    const root = await rootOf(box, 'made');
    const text = (name: string): string => readFileSync(path.join(root, name), 'utf8');
    expect([text('etc/msg'), text('opt/tool/who'), text('opt/tool/where'), text('etc/made/data')]).toEqual([
      'two words\n',
      '0\n',
      '/srv/app\n',
      'data\n',
    ]);
    expect(readdirSync(path.join(root, 'srv/app')).sort()).toEqual(['app.sh', 'made-here', 'sub']);
    const run = await box.run(['/bin/sh', '-c', 'echo $MSG; ./app.sh; cat sub/data'], {
      flags: ['--image', 'made', '--cwd', '/srv/app'],
    });
    expect(run.stdout).toBe('two words\napp\ndata\n');
    expect(
      box.records().find(({ kind, data }) => kind === 'image.changed' && data['action'] === 'build'),
    ).toMatchObject({ data: { name: 'made', source: 'Recipe on base' } });
  });

  it('the same recipe gives the same image, and the base stays as it was', async () => {
    using box = await baseBox();
    const before = await rootOf(box, 'base');
    const recipe = 'FROM base\nRUN echo x > /etc/marker\n';
    expect(await buildRecipe(box, recipe)).toMatchObject({ code: 0 });
    const first = await rootOf(box, 'made');
    expect(await buildRecipe(box, recipe)).toMatchObject({ code: 0 });
    expect(await rootOf(box, 'made')).toBe(first);
    expect(readFileSync(path.join(before, 'etc/marker'), 'utf8')).toBe('from the image\n');
  });

  it('leaves nothing of the sandbox in the image: no home, no mount points, no scratch', async () => {
    using box = await baseBox();
    expect(
      await buildRecipe(box, 'FROM base\nRUN : > /tmp/x; : > /var/tmp/y; : > /dev/shm/z; true\n'),
    ).toMatchObject({ code: 0 });
    const root = await rootOf(box, 'made');
    const base = await rootOf(box, 'base');
    const names = (dir: string): readonly string[] =>
      readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort();
    expect(names(root)).toEqual(names(base));
  });

  it('a step that fails ends the build with its place and output, and the old image stays', async () => {
    using box = await baseBox();
    expect(await buildRecipe(box, 'FROM base\nRUN echo 1 > /etc/marker\n')).toMatchObject({ code: 0 });
    const failed = await buildRecipe(
      box,
      'FROM base\nRUN echo 2 > /etc/marker\n\nRUN echo why it failed >&2; exit 7\n',
    );
    expect(failed.stderr).toMatch(
      /why it failed[\s\S]*Recipe:4:1: RUN ended with code 7[\s\S]*\[E_IMAGE_BUILD\]/,
    );
    expect(failed.code).toBe(125);
    expect(readFileSync(path.join(await rootOf(box, 'made'), 'etc/marker'), 'utf8')).toBe('1\n');
    expect(readdirSync(path.join(box.home, '.cache/glovebox/images/tmp'))).toEqual([]);
  });

  it('a build that is told to end leaves nothing', async () => {
    using box = await baseBox();
    writeFileSync(
      path.join(box.workspace, 'Recipe'),
      'FROM base\nRUN echo up >&2; read x < /dev/zero; while :; do :; done\n',
    );
    const child = spawn(
      process.execPath,
      [GLOVEBOX, 'image', 'build', '-f', 'Recipe', '-t', 'made', 'context'],
      {
        cwd: box.workspace,
        env: box.env(),
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    let text = '';
    child.stderr.on('data', (chunk: Buffer) => {
      const running = text.includes('\nup\n');
      text += chunk.toString();
      // Once: a second one does not wait for the tidying up.
      if (!running && text.includes('\nup\n')) child.kill('SIGTERM');
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect([code, text]).toEqual([125, expect.stringContaining('E_')]);
    expect(readdirSync(path.join(box.home, '.cache/glovebox/images/tmp'))).toEqual([]);
    expect(readdirSync('/var/tmp').filter((name) => name.startsWith(`glovebox-bake-${child.pid}-`))).toEqual(
      [],
    );
    expect(box.records().at(-1)).toMatchObject({ kind: 'image.refused', data: { action: 'build' } });
  });

  it('has one budget: what base, COPY and RUN take together, also while a step runs', async () => {
    using box = await baseBox();
    const store = new ImageStore(path.join(box.home, '.cache/glovebox/images'));
    const base = store.get('base').report;
    const half = Math.ceil(base.bytes / 2) + 3_000_000;
    // Each by itself is well within what base and both take together.
    writeFileSync(path.join(box.workspace, 'context/half'), Buffer.alloc(half, 1));
    const bounds = { bytes: base.bytes + half + 1_000_000, entries: base.entries + 100 };
    const endless = 'RUN while :; do cat /srv/half >> /opt/half; done';
    const cases: readonly (readonly [string, string])[] = [
      ['COPY half /srv/half\nCOPY half /opt/half\n', 'Recipe:3:6: the image becomes too large'],
      ['COPY half /srv/half\nRUN cat /srv/half > /opt/half\n', 'Recipe:3:1: the image becomes too large'],
      [`COPY half /srv/half\n${endless}\n`, 'Recipe:3:1: the image becomes too large'],
      [
        'RUN for i in 1 2 3; do for j in 1 2 3 4 5 6 7 8 9 0; do for k in 1 2 3 4; do : > /opt/$i$j$k; done; done; done\n',
        'Recipe:2:1: the image becomes too large',
      ],
    ];
    const recipe = path.join(box.workspace, 'Recipe');
    const input = {
      store,
      recipe,
      context: path.join(box.workspace, 'context'),
      name: 'made',
      runner: new SandboxRecipeRunner({ env: box.env(), layer: {} }),
      output: () => undefined,
      progress: () => undefined,
      bounds,
    };
    for (const [steps, expected] of cases) {
      writeFileSync(recipe, `FROM base\n${steps}`);
      const error: unknown = await buildImage(input).catch((caught: unknown) => caught);
      expect(error).toMatchObject({
        code: 'E_IMAGE_TOO_LARGE',
        what: expect.stringContaining(expected),
        why: expect.stringContaining('base system and all steps together'),
      });
    }
    // What a step removes counts no more.
    writeFileSync(recipe, 'FROM base\nCOPY half /srv/half\nRUN rm /srv/half\nCOPY half /opt/half\n');
    expect(await buildImage(input)).toMatchObject({ name: 'made' });
    expect(readdirSync(path.join(box.home, '.cache/glovebox/images/tmp'))).toEqual([]);
  });

  it('gives files to other users in name only, and says why a step failed', async () => {
    using box = await baseBox();
    const chown =
      'RUN ["/bin/bash", "-c", ": > /opt/f && chown 33:42 /opt/f && chown -h 7 /opt/f && stat -c %u:%g /opt/f > /opt/who"]';
    expect(await buildRecipe(box, `FROM base\n${chown}\n`)).toMatchObject({ code: 0 });
    expect(readFileSync(path.join(await rootOf(box, 'made'), 'opt/who'), 'utf8')).toBe('0:0\n');
    const dir = await buildRecipe(box, 'FROM base\nRUN mkdir /data\n');
    expect(dir.stderr).toMatch(
      /RUN ended with code 1: a step makes nothing at the top level[^]*`WORKDIR \/data`/,
    );
    const reach = await buildRecipe(
      box,
      'FROM base\nRUN ["/bin/bash", "-c", "exec 3<>/dev/tcp/pypi.example/443"]\n',
    );
    expect(reach.stderr).toMatch(/it was refused pypi\.example\n?[^]*--allow pypi\.example/);
  });

  it('says where a recipe is wrong', async () => {
    using box = await baseBox();
    const cases: readonly (readonly [string, string])[] = [
      ['FROM bas\n', 'Recipe:1:6: there is no image "bas"'],
      ['FROM base\nCOPY nothing /x\n', 'Recipe:2:6: there is no nothing in the context'],
      ['FROM base\nRUM x\n', 'Recipe:2:1: there is no instruction RUM'],
    ];
    for (const [recipe, expected] of cases)
      expect((await buildRecipe(box, recipe)).stderr).toContain(expected);
  });

  it('from scratch, COPY alone', async () => {
    using box = await baseBox();
    expect(await buildRecipe(box, 'FROM scratch\nCOPY . /bin/\n')).toMatchObject({ code: 0 });
    const root = await rootOf(box, 'made');
    expect(readdirSync(path.join(root, 'bin')).sort()).toEqual(['app.sh', 'sub']);
    expect(statSync(path.join(root, 'bin/app.sh')).mode & 0o777).toBe(0o755);
  });
});
