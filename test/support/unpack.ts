import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { UnpackBudget, type UnpackBounds } from '../../src/images/unpack/budget.ts';
import { applyLayer } from '../../src/images/unpack/layer.ts';
import { tarOf, type TarSpec } from './tar.ts';

/** A directory to unpack layers into, beside one that must stay as it is. */
export class UnpackBox implements Disposable {
  readonly base = mkdtempSync('/var/tmp/gb-layer-');
  readonly root = path.join(this.base, 'root');
  readonly outside = path.join(this.base, 'outside');

  constructor() {
    mkdirSync(this.root);
    mkdirSync(path.join(this.outside, 'sub'), { recursive: true });
    writeFileSync(path.join(this.outside, 'secret'), 'secret');
    for (const name of ['secret', 'sub', '']) {
      chmodSync(path.join(this.outside, name), 0o700);
      utimesSync(path.join(this.outside, name), 1000, 1000);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true });
  }

  async apply(...layers: (readonly TarSpec[])[]): Promise<UnpackBudget> {
    const budget = new UnpackBudget();
    for (const layer of layers) await this.applyBytes(tarOf(layer), budget);
    return budget;
  }

  applyBytes(bytes: Buffer, budget = new UnpackBudget(), size = 700): Promise<void> {
    return applyLayer(this.root, chunks(bytes, size), budget);
  }

  /** What becomes of layers: `applied`, or the code and message of the refusal. */
  async refused(...layers: (readonly TarSpec[])[]): Promise<string> {
    return outcome(this.apply(...layers));
  }

  async refusedWithin(bounds: UnpackBounds, layer: readonly TarSpec[]): Promise<string> {
    return outcome(this.applyBytes(tarOf(layer), new UnpackBudget(bounds)));
  }

  /** Begins anew. */
  clear(): void {
    rmSync(this.root, { recursive: true, force: true });
    mkdirSync(this.root);
  }

  /** Every path of the root, with kind and content. */
  tree(): Record<string, string> {
    return treeOf(this.root);
  }

  /** Nothing outside of the root was made, changed or removed. */
  expectOutsideUntouched(): void {
    expect(treeOf(this.outside)).toEqual({ 'sub/': 'dir', secret: 'secret' });
    for (const name of ['', 'sub', 'secret']) {
      const { mode, mtimeMs } = statSync(path.join(this.outside, name));
      expect([mode & 0o7777, mtimeMs]).toEqual([0o700, 1_000_000]);
    }
    expect(readdirSync(this.base).sort()).toEqual(['outside', 'root']);
  }
}

async function* chunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function outcome(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'applied',
    (error: unknown) =>
      error instanceof Error && 'code' in error ? `${String(error.code)} ${error.message}` : String(error),
  );
}

function treeOf(dir: string, prefix = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(dir).sort()) {
    const target = path.join(dir, name);
    const stat = lstatSync(target);
    if (stat.isSymbolicLink()) found[prefix + name] = `-> ${readlinkSync(target)}`;
    else if (stat.isDirectory())
      Object.assign(found, { [`${prefix}${name}/`]: 'dir' }, treeOf(target, `${prefix}${name}/`));
    else found[prefix + name] = readFileSync(target, 'utf8');
  }
  return found;
}
