// Archives that unpack to more than a machine has. Source: zip bombs; gzip reaches 1:1032.
import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { AttackBox } from '../support/attack.ts';
import { tarOf, type TarSpec } from '../support/tar.ts';

const MIB = 1024 * 1024;

/** A gzip tar whose one file is so many mebibytes of zeros: a fraction of a thousandth on disk. */
function zeroBomb(file: string, mebibytes: number): void {
  const size = mebibytes * MIB;
  const header = tarOf([{ name: 'bomb', size }]).subarray(0, 512);
  const member = gzipSync(Buffer.alloc(MIB));
  writeFileSync(file, Buffer.concat([gzipSync(header), ...Array.from({ length: mebibytes }, () => member)]));
}

describe('bombs end early, with a record, and leave nothing', () => {
  it.each<[string, string, (file: string) => void]>([
    ['zeros', 'E_IMAGE_TOO_LARGE', (file) => zeroBomb(file, 1024)],
    [
      'a file larger than any image',
      'E_IMAGE_TOO_LARGE',
      (file) => writeFileSync(file, tarOf([{ name: 'x', flag: '0', size: 40 * 1024 ** 3 }])),
    ],
    [
      'a name in a header of gigabytes',
      'E_IMAGE_TOO_LARGE',
      (file) => writeFileSync(file, tarOf([{ name: 'x', flag: 'L', size: 4 * 1024 ** 3 }])),
    ],
    [
      'directories without end',
      'E_IMAGE_TOO_LARGE',
      (file) => writeFileSync(file, tarOf([{ name: `${'d/'.repeat(2000)}x` }])),
    ],
    [
      'zeros after the end',
      'E_IMAGE_',
      (file) =>
        writeFileSync(file, gzipSync(Buffer.concat([tarOf([{ name: 'x' }]), Buffer.alloc(64 * MIB)]))),
    ],
  ])('%s', async (_, code, make) => {
    using box = new AttackBox('process');
    const file = path.join(box.base, 'bomb.tar');
    make(file);
    const result = await box.cli(['image', 'import', file, 'bomb']);
    expect(result.stderr).toContain(`[${code}`);
    expect(result.code).toBe(125);
    const store = path.join(box.home, '.cache/glovebox/images');
    expect(readdirSync(path.join(store, 'rootfs'))).toEqual([]);
    expect(readdirSync(path.join(store, 'tmp'))).toEqual([]);
    expect(box.records().at(-1)).toMatchObject({ kind: 'image.refused', data: { name: 'bomb' } });
  });

  it('many entries cost memory for none of them', async () => {
    using box = new AttackBox('process');
    const file = path.join(box.base, 'many.tar.gz');
    const entries: TarSpec[] = Array.from({ length: 10_000 }, () => ({ name: 'same', content: 'x' }));
    writeFileSync(file, gzipSync(tarOf(entries)));
    const limited = spawnSync(
      'prlimit',
      [
        '--data=400000000',
        process.execPath,
        path.resolve('dist/bin/glovebox.js'),
        'image',
        'import',
        file,
        'many',
      ],
      { env: box.env(), cwd: box.workspace, encoding: 'utf8' },
    );
    expect(limited).toMatchObject({ status: 0 });
    expect(box.records().at(-1)).toMatchObject({
      kind: 'image.changed',
      data: { action: 'import', name: 'many' },
    });
  });
});
