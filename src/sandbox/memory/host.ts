import { GloveboxError } from '../../base/errors.ts';
import type { SandboxInfo } from '../chamber.ts';
import { matches, type SandboxQuery } from '../listing.ts';
import type { SandboxOptions } from '../options.ts';
import { Sandbox } from '../sandbox.ts';
import { MemoryChamber } from './chamber.ts';
import type { Handlers } from './handlers.ts';

/** How code comes by sandboxes: what it takes in place of the class, to be handed a double in tests. */
export type SandboxHost = Pick<typeof Sandbox, 'create' | 'connect' | 'getOrCreate' | 'list'>;

/** A command that a double was asked to run. */
export interface CommandRecord {
  readonly sandboxId: string;
  readonly argv: readonly string[];
  readonly cwd: string;
}

/** The real class over a chamber in memory. */
class MemorySandbox extends Sandbox {
  static over(chamber: MemoryChamber): Sandbox {
    return new MemorySandbox(chamber);
  }
}

/**
 * Sandboxes in memory, for tests: the real `Sandbox` with its commands, files, terminals, code contexts and ends, in which handlers
 * of the test play the programs. Nothing is contained here: handlers are code of the test.
 */
export class MemoryHost implements SandboxHost {
  readonly #handlers: Handlers;
  readonly #living = new Map<string, MemoryChamber>();
  readonly #commands: CommandRecord[] = [];

  constructor(handlers: Handlers = {}) {
    this.#handlers = handlers;
  }

  /** Every command so far, as the audit log would have it. */
  get commands(): readonly CommandRecord[] {
    return this.#commands;
  }

  async create(options: SandboxOptions = {}): Promise<Sandbox> {
    if (options.name !== undefined && (await this.#named(options.name)) !== undefined)
      throw new GloveboxError('E_NAME_TAKEN', { what: `a living sandbox has the name ${options.name}` });
    const chamber = await MemoryChamber.start({
      options,
      handlers: this.#handlers,
      record: (argv, cwd) => this.#commands.push({ sandboxId: chamber.id, argv, cwd }),
      ended: (id) => this.#living.delete(id),
    });
    this.#living.set(chamber.id, chamber);
    return MemorySandbox.over(chamber);
  }

  async connect(id: string): Promise<Sandbox> {
    const chamber = this.#living.get(id);
    if (chamber !== undefined) return MemorySandbox.over(chamber);
    throw new GloveboxError('E_SANDBOX_NOT_FOUND', { what: `no living sandbox of yours has the id ${id}` });
  }

  async getOrCreate(options: SandboxOptions & { readonly name: string }): Promise<Sandbox> {
    const known = await this.#named(options.name);
    return known === undefined ? this.create(options) : MemorySandbox.over(known);
  }

  list(query: SandboxQuery = {}): AsyncIterableIterator<SandboxInfo> {
    return listed([...this.#living.values()], query);
  }

  async #named(name: string): Promise<MemoryChamber | undefined> {
    for (const chamber of this.#living.values()) if ((await chamber.info()).name === name) return chamber;
    return undefined;
  }
}

async function* listed(
  chambers: readonly MemoryChamber[],
  query: SandboxQuery,
): AsyncGenerator<SandboxInfo, void> {
  for (const chamber of chambers) {
    const info = await chamber.info();
    if (matches(info, query)) yield info;
  }
}
