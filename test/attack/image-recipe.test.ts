// A recipe that somebody else wrote: COPY of host files, RUN that looks around and reaches out.
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectEvent, forEachTier } from '../support/attack.ts';
import { smallRootfs, tarTree } from '../support/rootfs.ts';
import type { BoxResult } from '../support/box.ts';

async function build(box: AttackBox, recipe: string): Promise<BoxResult> {
  writeFileSync(path.join(box.workspace, 'Recipe'), recipe);
  return box.cli(['image', 'build', '-f', 'Recipe', '-t', 'made', 'context']);
}

async function withBase(box: AttackBox): Promise<void> {
  const root = smallRootfs(path.join(box.base, 'rootfs'));
  expect(
    await box.cli(['image', 'import', tarTree(root, path.join(box.base, 'base.tar')), 'base']),
  ).toMatchObject({ code: 0 });
  mkdirSync(path.join(box.workspace, 'context/sub'), { recursive: true });
}

forEachTier('COPY takes nothing from outside of its context', async (tier) => {
  using box = new AttackBox(tier);
  await withBase(box);
  const secret = box.plant('secret');
  symlinkSync(path.dirname(secret), path.join(box.workspace, 'context/link'));
  for (const source of ['../../secret', 'sub/../../secret', 'link/secret', secret]) {
    const result = await build(box, `FROM base\nCOPY ${source} /stolen\n`);
    expect([source, result.code]).toEqual([source, 125]);
    expect(result.stderr).toContain('Recipe:2:6: ');
    expect(box.records().at(-1)).toMatchObject({
      kind: 'image.refused',
      data: { action: 'build', code: 'E_IMAGE_RECIPE' },
    });
  }
  // The link itself is copied, and leads inside the image from then on.
  expect(await build(box, 'FROM base\nCOPY . /opt/\n')).toMatchObject({ code: 0 });
  const seen = await box.run(['/bin/sh', '-c', 'cat /opt/link/secret 2>&1'], { flags: ['--image', 'made'] });
  expect(seen.stdout).not.toContain(box.canary);
});

forEachTier('COPY through a link of the image writes nothing to the host', async (tier) => {
  using box = new AttackBox(tier);
  await withBase(box);
  const victim = box.plant('victims/file');
  writeFileSync(path.join(box.workspace, 'context/file'), 'evil');
  const result = await build(
    box,
    `FROM base\nRUN ln -s ${path.dirname(victim)} /opt/out\nCOPY file /opt/out/\nCOPY file /opt/out/../evil\n`,
  );
  expect(result).toMatchObject({ code: 0 });
  expect(readdirSync(path.dirname(victim))).toEqual(['file']);
  expect((await box.cli(['audit', 'verify'])).code).toBe(0);
});

forEachTier('RUN sees no host, reaches no network, and cannot become anybody', async (tier) => {
  using box = new AttackBox(tier);
  await withBase(box);
  const secret = box.plant('secret');
  const probe = [
    `cat ${secret} ${box.home}/.cache/glovebox/images/refs/* && echo read`,
    `ls ${box.base} && echo listed`,
    'exec 3<>/dev/tcp/192.0.2.1/80',
    'stat -c %u /proc/1 /etc/marker',
  ].join('; ');
  const result = await build(
    box,
    `FROM base\nRUN ["/bin/bash", "-c", ${JSON.stringify(`${probe}; true`)}]\n`,
  );
  expect(result.stderr).not.toMatch(/^(?:read|listed)$/m);
  expect(result.stderr).not.toContain(box.canary);
  expect(result).toMatchObject({ code: 0 });
  expectEvent(box, 'network.verdict', { action: 'deny' });
  const kinds = box.records().map(({ kind }) => kind);
  expect(kinds).toEqual(expect.arrayContaining(['run.start', 'run.command', 'run.end', 'image.changed']));
});
