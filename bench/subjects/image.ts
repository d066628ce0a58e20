import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { smallRootfs, tarTree } from '../../test/support/rootfs.ts';
import { timeRun, timed, type Invocation } from '../lib/command.ts';
import { gloveboxRun, program, type Subject } from '../lib/context.ts';
import { fillTree, type Place } from '../lib/place.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { difference, ratio } from '../lib/stats.ts';
import type { Series } from '../lib/result.ts';

const IMPORTS = 5;
const STARTS = 20;
/** Small files cost an entry each, large ones their bytes: a system has both. */
const SMALL_FILES = 3000;
const LARGE_FILES = 8;
const LARGE_BYTES = 5 * 1024 * 1024;

/** Base systems: what an import costs beside `tar`, and what a start on one costs beside a start on the host's. */
export const image: Subject = {
  name: 'image',
  summary: 'image import beside tar -xf, and run --image beside run',
  run: async ({ place, rounds, budgetMs }) => {
    const workspace = place.workspace('image');
    const root = path.join(place.root, 'rootfs');
    const small = tarTree(smallRootfs(root), path.join(place.root, 'small.tar'));
    glovebox(place, ['image', 'import', small, 'small']);
    const unpack = await interleave({
      arms: importArms(place, bulkArchive(place)),
      metrics: { '': 'MiB/s' },
      rounds: rounds(IMPORTS),
      warmups: 1,
      budgetMs: budgetMs / 2,
    });
    const start = await interleave({
      arms: startArms(place, workspace),
      metrics: { '': 'ms' },
      rounds: rounds(STARTS),
      warmups: 2,
      budgetMs: budgetMs / 2,
    });
    return { series: [...unpack, ...start], comparisons: comparisons(unpack, start), skips: [] };
  },
};

function comparisons(unpack: readonly Series[], start: readonly Series[]) {
  const imported = find(unpack, 'image import');
  const onImage = find(start, 'run --image');
  return [
    ...ratio({ label: 'image import / tar -xf', of: imported, to: find(unpack, 'tar -xf') }),
    ...ratio({ label: 'image import / tar -xf and sync', of: imported, to: find(unpack, 'tar -xf, sync') }),
    ...difference({ label: 'run --image − run', of: onImage, to: find(start, 'run') }),
  ];
}

function glovebox(place: Place, args: readonly string[]): void {
  timeRun({ argv: [process.execPath, program(), ...args], cwd: place.root, env: place.env() });
}

/** An archive of small and large files. */
function bulkArchive(place: Place): string {
  const tree = path.join(place.root, 'bulk');
  fillTree(tree, SMALL_FILES, (i) => `file${i}`);
  const content = Buffer.alloc(LARGE_BYTES, 'a large file of an image\n');
  for (let i = 0; i < LARGE_FILES; i++) writeFileSync(path.join(tree, `large${i}`), content);
  return tarTree(tree, path.join(place.root, 'bulk.tar'));
}

function importArms(place: Place, archive: string): readonly Arm[] {
  const mebibytes = statSync(archive).size / 1024 ** 2;
  const target = path.join(place.root, 'unpacked');
  const clear = (): void => {
    // The first time there is none.
    spawnSync(process.execPath, [program(), 'image', 'remove', 'bulk'], {
      env: place.env(),
      stdio: 'ignore',
    });
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target);
    spawnSync('sync');
  };
  const arm = (name: string, command: string, argv: readonly string[]): Arm => ({
    name,
    command,
    before: clear,
    sample: async () => {
      const ms = timeRun({ argv, cwd: target, env: place.env() });
      return { '': mebibytes / (ms / 1000) };
    },
  });
  const words = [process.execPath, program(), 'image', 'import', archive, 'bulk'];
  return [
    arm('image import', 'glovebox image import bulk.tar bulk', words),
    arm('tar -xf', 'tar -xf bulk.tar', ['tar', '-xf', archive]),
    arm('tar -xf, sync', 'tar -xf bulk.tar; sync -f .', ['sh', '-c', 'tar -xf "$0" && sync -f .', archive]),
  ];
}

function startArms(place: Place, workspace: string): readonly Arm[] {
  const run = (options: readonly string[]): Invocation =>
    gloveboxRun({ workspace, env: place.env(), options, command: ['/bin/sh', '-c', ':'] });
  return [
    timed('run', 'glovebox run -- sh -c :', run([])),
    timed('run --image', 'glovebox run --image small -- sh -c :', run(['--image', 'small'])),
  ];
}
