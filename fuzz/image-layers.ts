import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { CAPS } from '../src/base/caps.ts';
import { GloveboxError } from '../src/base/errors.ts';
import { UnpackBudget } from '../src/images/unpack/budget.ts';
import { applyLayer } from '../src/images/unpack/layer.ts';
import { pax, tarOf, type TarSpec } from '../test/support/tar.ts';
import { promise } from './net-parsers.ts';
import type { AsyncFuzzTarget } from './net-parsers.ts';

const BLOCK = 512;
const BOUNDS = { bytes: 4096, entries: 24 } as const;
const CODES: ReadonlySet<string> = new Set(['E_IMAGE_INVALID', 'E_IMAGE_TOO_LARGE']);

/** A root to unpack into, and a neighbour that must stay as it is. */
export class LayerField implements Disposable {
  readonly #dir = mkdtempSync('/var/tmp/gb-fuzz-layer-');
  readonly #root = path.join(this.#dir, 'root');
  readonly #before: string;

  constructor() {
    mkdirSync(path.join(this.#dir, 'a/b'), { recursive: true });
    for (const name of ['a/secret', 'a/b/c']) {
      writeFileSync(path.join(this.#dir, name), name);
      chmodSync(path.join(this.#dir, name), 0o400);
    }
    for (const name of ['a/secret', 'a/b/c', 'a/b', 'a']) utimesSync(path.join(this.#dir, name), 1000, 1000);
    this.#before = this.#outside();
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Applies layers, one over the other, and looks at what came of it. */
  async apply(layers: readonly Uint8Array[]): Promise<void> {
    rmSync(this.#root, { recursive: true, force: true });
    mkdirSync(this.#root, { mode: 0o700 });
    const budget = new UnpackBudget(BOUNDS);
    try {
      for (const layer of layers) await applyLayer(this.#root, pieces(layer), budget);
    } catch (error) {
      if (!(error instanceof GloveboxError)) throw error;
      promise(CODES.has(error.code), `an answer about the image, not ${error.code}`);
    }
    promise(this.#outside() === this.#before, 'nothing outside of the root changes');
    this.#checkInside();
  }

  /** Everything beside the root, with all that could change about it but the time that reading leaves. */
  #outside(): string {
    const beside = readdirSync(this.#dir).filter((name) => name !== 'root');
    return JSON.stringify(beside.map((name) => describe(path.join(this.#dir, name))));
  }

  #checkInside(): void {
    let [entries, size] = [0, 0];
    const look = (dir: Buffer, depth: number): void => {
      promise(depth <= CAPS.imageDepth, 'no directory is deeper than the bound');
      for (const name of readdirSync(dir, { encoding: 'buffer' })) {
        const target = Buffer.concat([dir, Buffer.from('/'), name]);
        const stat = lstatSync(target);
        entries++;
        promise(stat.isFile() || stat.isDirectory() || stat.isSymbolicLink(), 'nothing special is made');
        promise((stat.mode & 0o6000) === 0, 'nothing is setuid or setgid');
        if (stat.isFile()) size += stat.size / stat.nlink;
        if (stat.isDirectory()) look(target, depth + 1);
      }
    };
    look(Buffer.from(this.#root), 0);
    promise(entries <= BOUNDS.entries, 'no more is made than the bound says');
    promise(Math.round(size) <= BOUNDS.bytes, 'no more is written than the bound says');
  }
}

function describe(target: string): unknown {
  const { mode, nlink, mtimeMs, size } = lstatSync(target);
  const facts = { target, mode, nlink, mtimeMs, size };
  if (lstatSync(target).isDirectory())
    return { ...facts, children: readdirSync(target).map((name) => describe(path.join(target, name))) };
  return {
    ...facts,
    content: lstatSync(target).isFile() ? readFileSync(target, 'utf8') : readlinkSync(target),
  };
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
}

/** Headers with the checksum that they should have: without it no change gets past the first look. */
function summed(input: Uint8Array): Buffer {
  const out = Buffer.from(input);
  for (let at = 0; at + BLOCK <= out.length; at += BLOCK) {
    const block = out.subarray(at, at + BLOCK);
    if (block.toString('latin1', 257, 262) !== 'ustar') continue;
    block.fill(0x20, 148, 156);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return out;
}

const ARCHIVES: readonly (readonly TarSpec[])[] = [
  [
    { name: 'a/', mode: 0o755 },
    { name: 'a/f', content: 'hello' },
    { name: 'h', flag: '1', link: 'a/f' },
  ],
  [
    pax({ path: 'long', mtime: '1.5' }),
    { name: 'x' },
    { name: 's', flag: '2', link: '../a' },
    { name: 's/b' },
  ],
  [{ name: `${'n'.repeat(120)}/x`, content: 'y' }, { name: '.wh.a' }, { name: 'p', flag: '6' }],
];

/** Pieces of names, chosen by a byte each: what file systems, layers and people who attack them make of them. */
const PARTS = ['a', 'b', 'c', 'd', '..', '.', '', '.wh.a', '.wh.b', '.wh..wh..opq', '.wh..', '\udcff', 'é'];
const LONG = ['n'.repeat(255), 'n'.repeat(256), 'd/'.repeat(100), 'd/'.repeat(2000), '../'.repeat(50), '/'];
const WORDS = [...PARTS, ...PARTS, ...LONG];
const FLAGS = ['0', '0', '0', '1', '1', '2', '2', '5', '5', '3', '6', 'Z'];

/** Reads bytes as a script of layers: each entry is five bytes, and zero in the first begins another layer. */
function layersOf(script: Uint8Array): readonly Uint8Array[] {
  const layers: TarSpec[][] = [[]];
  for (let at = 0; at + 5 <= Math.min(script.length, 200); at += 5) {
    const [kind = 0, name = 0, more = 0, link = 0, mode = 0] = script.subarray(at, at + 5);
    if (kind === 0) layers.push([]);
    const word = (byte: number): string => WORDS[byte % WORDS.length] ?? '';
    const flag = FLAGS[kind % FLAGS.length] ?? '0';
    layers.at(-1)?.push({
      flag,
      name: Buffer.from(`${word(name)}/${word(more)}`.replaceAll('\udcff', '\xff'), 'latin1'),
      link: [word(link), word(link >> 3), word(mode)].join('/'),
      mode: mode * 16 + name,
      ...(flag === '0' ? { content: 'x'.repeat(mode * 8) } : {}),
    });
  }
  return layers.map((layer) => tarOf(layer));
}

const script = (...numbers: readonly number[]): Uint8Array => Uint8Array.from(numbers);

/** Layers from bytes, and layers from scripts. */
export function layerTargets(field: LayerField): readonly AsyncFuzzTarget[] {
  return [
    {
      name: 'image layer',
      seeds: ARCHIVES.map((entries) => tarOf(entries)),
      run: async (input) => {
        await field.apply([input]);
        await field.apply([summed(input), summed(input)]);
      },
    },
    {
      name: 'image layer script',
      seeds: [
        script(5, 4, 0, 4, 4, 1, 0, 1, 0, 0, 7, 1, 6, 0, 9),
        script(5, 0, 6, 29, 4, 1, 0, 1, 0, 3, 0, 7, 6, 0, 0, 7, 0, 9, 0, 0),
        script(5, 0, 6, 27, 0, 5, 1, 6, 27, 0, 1, 0, 1, 2, 2),
      ],
      run: (input) => field.apply(layersOf(input)),
    },
  ];
}
