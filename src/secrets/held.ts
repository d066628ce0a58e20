import { GloveboxError, isGloveboxError } from '../base/errors.ts';
import type { CredentialPolicy, CredentialSource } from '../policy/contract.ts';
import type { CredentialStatus } from './contract.ts';
import { createPlaceholder } from './placeholders.ts';
import type { KnownBytes } from './recognizer.ts';

/** After a failed read the next one waits this long: a storm of requests is not a storm of commands. */
const RETRY_MS = 1000;
/** Former values that are still recognised; older ones are forgotten. */
const FORMER_MAX = 16;

type State = 'unread' | 'ready' | 'failed' | 'revoked';

interface Former {
  readonly field: string;
  readonly bytes: Buffer;
  /** False: only replaced by a newer one, so it may come back. */
  readonly revoked: boolean;
}

/** What a held credential needs of its surroundings. */
export interface HeldContext {
  readonly read: (source: CredentialSource) => Promise<Buffer>;
  readonly now: () => number;
  /** Values, placeholders or state changed. */
  readonly changed: (
    what: 'source-failed' | 'source-refreshed' | 'revoked' | 'loaded',
    credential: string,
  ) => void;
}

/** One credential of one sandbox: its placeholders, and its secrets while they are in memory. */
export class Held {
  policy: CredentialPolicy;
  readonly #context: HeldContext;
  readonly #values = new Map<string, Buffer>();
  #placeholders = new Map<string, string>();
  #former: Former[] = [];
  #state: State = 'unread';
  #why = '';
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #wiped = false;

  /** `placeholders`: those that the sandbox has already, when only the sources changed. */
  constructor(policy: CredentialPolicy, context: HeldContext, placeholders?: ReadonlyMap<string, string>) {
    this.policy = policy;
    this.#context = context;
    this.#placeholders = new Map(placeholders);
  }

  get name(): string {
    return this.policy.name;
  }

  get fields(): readonly string[] {
    return Object.keys(this.policy.sources);
  }

  get placeholders(): ReadonlyMap<string, string> {
    return this.#placeholders;
  }

  status(): CredentialStatus {
    if (this.#state === 'ready' || this.#state === 'revoked') return { name: this.name, state: this.#state };
    return { name: this.name, state: 'failed', why: this.#why };
  }

  /** Makes sure that the secrets are there and fresh. Never rejects: `usable` has the answer. */
  async settle(): Promise<void> {
    const age = this.#context.now() - this.#readAt;
    const { refreshMs } = this.policy;
    const due =
      this.#state === 'unread' ||
      (this.#state === 'failed' && age >= RETRY_MS) ||
      (this.#state === 'ready' && refreshMs !== undefined && age >= refreshMs);
    if (due || this.#reading !== undefined) await this.#readOnce();
  }

  /** The secrets by field, or why there are none. */
  usable(): ReadonlyMap<string, Buffer> | 'revoked' | 'failed' {
    if (this.#state === 'ready') return this.#values;
    return this.#state === 'revoked' ? 'revoked' : 'failed';
  }

  /** Reads now. @throws E_CREDENTIAL_SOURCE or E_CREDENTIAL_INVALID when that fails. */
  async refresh(): Promise<void> {
    // A read that began before the change it is asked for does not count.
    await this.#reading;
    const wasRevoked = this.#state === 'revoked';
    if (wasRevoked) this.#state = 'unread';
    await this.#readOnce();
    if (this.#state === 'ready') return;
    if (wasRevoked) this.#state = 'revoked';
    throw new GloveboxError('E_CREDENTIAL_SOURCE', {
      what: `credential ${this.name} is not usable`,
      why: this.#why,
    });
  }

  revoke(): void {
    for (const [field, bytes] of this.#values) this.#retire({ field, bytes, revoked: true });
    this.#values.clear();
    this.#state = 'revoked';
    this.#context.changed('revoked', this.name);
  }

  /** New placeholders; answers the ones that were valid until now. */
  renew(taken: ReadonlySet<string>): readonly (readonly [field: string, text: string])[] {
    const former = [...this.#placeholders];
    this.#placeholders = new Map();
    this.fillPlaceholders(taken);
    return former;
  }

  /** Makes the placeholders that are missing, none of them in `taken`. */
  fillPlaceholders(taken: ReadonlySet<string>): void {
    const { expose, prefix, name } = this.policy;
    for (const field of this.fields) {
      if (this.#placeholders.has(field)) continue;
      const secret = this.#values.get(field);
      const variables = Object.entries(expose.env)
        .filter(([, exposed]) => exposed === field)
        .map(([variable]) => variable);
      const request = { credential: name, field, variables, ...(secret === undefined ? {} : { secret }) };
      let text: string;
      do text = createPlaceholder(prefix === undefined ? request : { ...request, prefix });
      while (taken.has(text) || [...this.#placeholders.values()].includes(text));
      this.#placeholders.set(field, text);
    }
  }

  /** Everything of this credential that has to be recognised. */
  *known(): Generator<KnownBytes> {
    const credential = this.name;
    for (const [field, bytes] of this.#values) yield { known: { kind: 'secret', credential, field }, bytes };
    for (const { field, bytes } of this.#former)
      yield { known: { kind: 'revoked', credential, field }, bytes };
    for (const [field, text] of this.#placeholders)
      yield { known: { kind: 'placeholder', credential, field }, bytes: Buffer.from(text) };
  }

  /** Overwrites what is in memory. */
  wipe(): void {
    this.#wiped = true;
    for (const bytes of this.#values.values()) bytes.fill(0);
    for (const { bytes } of this.#former) bytes.fill(0);
    this.#values.clear();
    this.#former = [];
    this.#state = 'revoked';
  }

  #readOnce(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<void> {
    const results = await Promise.allSettled(
      Object.entries(this.policy.sources).map(async ([field, source]) => {
        return [field, await this.#context.read(source)] as const;
      }),
    );
    const read = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failure = results.find((result) => result.status === 'rejected');
    // Revoked or disposed of meanwhile: what was read comes too late.
    if (this.#wiped || this.#state === 'revoked') return wipeAll(read);
    this.#readAt = this.#context.now();
    if (failure !== undefined) {
      wipeAll(read);
      return this.#fail(whyOf(failure.reason));
    }
    if (read.some(([, bytes]) => this.#isRevoked(bytes))) {
      wipeAll(read);
      return this.#fail('it still gives the revoked value');
    }
    this.#take(read);
  }

  #fail(why: string): void {
    this.#state = 'failed';
    this.#why = why;
    this.#context.changed('source-failed', this.name);
  }

  #take(read: readonly (readonly [string, Buffer])[]): void {
    let replaced = false;
    for (const [field, bytes] of read) {
      const before = this.#values.get(field);
      if (before !== undefined && !before.equals(bytes)) {
        this.#retire({ field, bytes: before, revoked: false });
        replaced = true;
      } else before?.fill(0);
      this.#values.set(field, bytes);
    }
    this.#former = this.#former.filter((former) => !read.some(([, bytes]) => bytes.equals(former.bytes)));
    this.#state = 'ready';
    this.#context.changed(replaced ? 'source-refreshed' : 'loaded', this.name);
  }

  #retire(former: Former): void {
    this.#former.push(former);
    for (const gone of this.#former.splice(0, Math.max(0, this.#former.length - FORMER_MAX)))
      gone.bytes.fill(0);
  }

  #isRevoked(bytes: Buffer): boolean {
    return this.#former.some((former) => former.revoked && former.bytes.equals(bytes));
  }
}

function wipeAll(read: readonly (readonly [string, Buffer])[]): void {
  for (const [, bytes] of read) bytes.fill(0);
}

/** Our own errors say nothing that a source gave; of others only the kind is kept. */
function whyOf(error: unknown): string {
  return isGloveboxError(error) ? error.message : 'the source cannot be read';
}
