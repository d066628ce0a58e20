import type { AgentFileAccess } from '../agent/files-contract.ts';
import { isGloveboxError } from '../base/errors.ts';

/** More users than that are not worth their names. */
const TABLE_BYTES = 256 * 1024;
const NAME_CHARS = 64;

/** Names of users and groups as the sandbox's own /etc says them; read once, when first needed. */
export class OwnerNames {
  readonly #access: AgentFileAccess;
  #users: ReadonlyMap<number, string> = new Map();
  #groups: ReadonlyMap<number, string> = new Map();
  #loaded: Promise<void> | undefined;

  constructor(access: AgentFileAccess) {
    this.#access = access;
  }

  async load(signal: AbortSignal | undefined): Promise<void> {
    this.#loaded ??= this.#read();
    await this.#loaded;
    signal?.throwIfAborted();
  }

  user(uid: number): string {
    return this.#users.get(uid) ?? String(uid);
  }

  group(gid: number): string {
    return this.#groups.get(gid) ?? String(gid);
  }

  async #read(): Promise<void> {
    [this.#users, this.#groups] = await Promise.all([this.#table('/etc/passwd'), this.#table('/etc/group')]);
  }

  async #table(file: string): Promise<ReadonlyMap<number, string>> {
    try {
      return parseTable((await this.#access.readAll(file, { length: TABLE_BYTES })).toString('utf8'));
    } catch (error) {
      // Without a table there are numbers; that the sandbox is gone, the operation itself has said.
      if (isGloveboxError(error)) return new Map();
      throw error;
    }
  }
}

/** passwd(5), group(5): the first and the third field. The first line for a number counts, as in getpwuid(3). */
function parseTable(text: string): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [name = '', , id = ''] = line.split(':');
    const number = Number(id);
    if (!/^\d{1,10}$/.test(id) || !/^[\w.-]+\$?$/.test(name) || names.has(number)) continue;
    names.set(number, name.slice(0, NAME_CHARS));
  }
  return names;
}
