import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { systemCode } from '../../base/errors.ts';
import { printablePath } from '../../base/path-bytes.ts';
import type { ReadSource } from '../cache/memo.ts';
import type { GuestFeature, Kernel } from '../contract.ts';
import { packingOf, unpack } from '../filter.ts';
import { machineError } from '../problem.ts';
import { moduleInfo, moduleName, type ModuleInfo } from './modinfo.ts';

/** A module as the guest loads it: plain. */
export interface GuestModule {
  readonly name: string;
  readonly content: Buffer;
}

/** What always has to be there: machine bus and channel, then the root's disk and file systems. */
const ALWAYS = ['virtio_mmio', 'virtio_console', 'virtio_blk', 'erofs', 'overlay'];

const BY_FEATURE: Readonly<Record<GuestFeature, readonly string[]>> = {
  network: ['virtio_net'],
  share: ['virtiofs'],
  vsock: ['vmw_vsock_virtio_transport'],
};

/** No module that a guest needs comes near. */
const MODULE_BYTES = 32 * 1024 * 1024;

/**
 * The modules for these features in the order in which a guest has to load them: each after what it needs, none that the kernel has built
 * in. What a module needs is read from the module itself, so that a directory in which depmod never ran will do.
 *
 * @throws E_TIER_UNAVAILABLE with `context.problem`: `modules-missing`, `module-missing`
 */
export async function moduleClosure(
  kernel: Kernel,
  features: readonly GuestFeature[],
  read: ReadSource = readFileSync,
): Promise<readonly GuestModule[]> {
  const wanted = [
    ...ALWAYS,
    ...FEATURE_ORDER.filter((one) => features.includes(one)).flatMap((one) => BY_FEATURE[one]),
  ];
  const closure = new Closure(kernel, read);
  for (const name of wanted) await closure.add(name, []);
  return closure.modules;
}

/** One order for every set, so that equal sets give equal files. */
export const FEATURE_ORDER: readonly GuestFeature[] = ['network', 'share', 'vsock'];

class Closure {
  readonly modules: GuestModule[] = [];
  readonly #kernel: Kernel;
  readonly #read: ReadSource;
  readonly #builtin: ReadonlySet<string>;
  readonly #paths: ReadonlyMap<string, string>;
  readonly #done = new Set<string>();

  constructor(kernel: Kernel, read: ReadSource) {
    this.#kernel = kernel;
    this.#read = read;
    try {
      const builtin = read(path.join(kernel.modules, 'modules.builtin')).toString('latin1');
      this.#builtin = new Set(builtin.split('\n').map(nameOfFile));
      this.#paths = modulePaths(kernel.modules);
    } catch (error) {
      throw unreadable(kernel.modules, error);
    }
  }

  async add(name: string, trail: readonly string[]): Promise<void> {
    if (this.#done.has(name) || this.#builtin.has(name)) return;
    if (trail.includes(name)) throw this.#unusable(name, `it needs itself: ${[...trail, name].join(', ')}`);
    const file = this.#paths.get(name);
    if (file === undefined) throw this.#missing(name, trail.at(-1));
    const { content, info } = await this.#load(name, file);
    const inOrder = [...info.before.filter((one) => this.#paths.has(one)), ...info.depends];
    for (const needed of inOrder) await this.add(needed, [...trail, name]);
    this.#done.add(name);
    this.modules.push({ name, content });
  }

  async #load(name: string, file: string): Promise<{ readonly content: Buffer; readonly info: ModuleInfo }> {
    const bytes = this.#read(file);
    const packing = packingOf(bytes);
    const content = packing === undefined ? bytes : await unpack(bytes, packing, MODULE_BYTES);
    const info = content === undefined ? undefined : moduleInfo(content);
    if (content === undefined || info === undefined)
      throw this.#unusable(name, `${printablePath(file)} is damaged`);
    return { content, info };
  }

  #missing(name: string, needer: string | undefined): Error {
    const reason = needer === undefined ? '' : `, which ${needer} needs`;
    return machineError('module-missing', {
      why: `the kernel ${this.#kernel.release} has no ${name}${reason}, neither built in nor below ${printablePath(this.#kernel.modules)}`,
    });
  }

  #unusable(name: string, why: string): Error {
    return machineError('module-missing', { why: `the module ${name} cannot be used: ${why}` });
  }
}

function unreadable(dir: string, error: unknown): Error {
  if (systemCode(error) === undefined) return error instanceof Error ? error : new Error(String(error));
  return machineError('modules-missing', {
    why: `the modules in ${printablePath(dir)} cannot be read: ${systemCode(error)}`,
    cause: error,
  });
}

/** Every module below `kernel/` by name. */
function modulePaths(dir: string): ReadonlyMap<string, string> {
  const names = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.ko(?:\.\w+)?$/.test(name),
  );
  return new Map(names.sort().map((name) => [nameOfFile(name), path.join(dir, name)]));
}

const nameOfFile = (file: string): string => moduleName(path.basename(file).replace(/\.ko(?:\.\w+)?$/, ''));
