import { canonicalJson } from '../base/canonical-json.ts';
import { GloveboxError } from '../base/errors.ts';
import type { CredentialPolicy } from '../policy/contract.ts';
import { Held } from './held.ts';
import type { HeldContext } from './held.ts';
import { isHomeHost } from './home-host.ts';
import { Recognizer } from './recognizer.ts';
import type { Known, KnownBytes } from './recognizer.ts';
import { ConstantTime } from './same.ts';

/** Placeholders and secrets of credentials that are gone and still recognised; older ones are forgotten. */
const GONE_MAX = 256;

/** All credentials of one sandbox. */
export class Keyring {
  readonly #context: HeldContext;
  readonly #constantTime = new ConstantTime();
  readonly #held = new Map<string, Held>();
  #gone: KnownBytes[] = [];
  /** Policies of credentials that were replaced or removed: what they named is scrubbed where it was at home. */
  #former: CredentialPolicy[] = [];
  #recognizer: Recognizer | undefined;
  #table: ((text: string) => Known | undefined) | undefined;
  #disposed = false;

  constructor(context: HeldContext) {
    this.#context = {
      ...context,
      changed: (what, credential) => {
        this.#forget();
        context.changed(what, credential);
      },
    };
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  get size(): number {
    return this.#held.size;
  }

  all(): Iterable<Held> {
    return this.#held.values();
  }

  get(name: string): Held | undefined {
    return this.#held.get(name);
  }

  /** @throws E_CREDENTIAL_SOURCE when there is none of that name. */
  demand(name: string): Held {
    const held = this.#held.get(name);
    if (held !== undefined) return held;
    throw new GloveboxError('E_CREDENTIAL_SOURCE', { what: `the policy has no credential ${name}` });
  }

  /** Takes a policy's credentials: new ones are read, all at once; kept ones keep their placeholders; the rest is retired. */
  async update(credentials: readonly CredentialPolicy[]): Promise<void> {
    if (this.#disposed) return;
    const names = new Set(credentials.map(({ name }) => name));
    for (const held of this.#held.values()) if (!names.has(held.name)) this.#retire(held);
    for (const policy of credentials) {
      const held = this.#held.get(policy.name);
      if (held !== undefined && sameSources(held.policy, policy)) {
        if (!sameHomes(held.policy, policy)) this.#former.push(held.policy);
        held.policy = policy;
      } else {
        if (held !== undefined) this.#retire(held, 'values');
        this.#held.set(policy.name, new Held(policy, this.#context, held?.placeholders));
      }
    }
    this.#forget();
    await Promise.all([...this.#held.values()].map((held) => held.settle()));
    if (this.#disposed) return;
    for (const held of this.#held.values()) held.fillPlaceholders(this.#taken());
    this.#forget();
  }

  /** Secrets that answers of a host are scrubbed of, former ones too: an origin may still give back what it once got. */
  *scrubbedAt(host: string, port: number): Generator<KnownBytes> {
    const names = new Set(this.#scrubPolicies(host, port).map(({ name }) => name));
    for (const entry of this.known())
      if (names.has(entry.known.credential) && isSecret(entry.known)) yield entry;
  }

  isScrubbedAt(host: string, port: number): boolean {
    return this.#scrubPolicies(host, port).length > 0;
  }

  /**
   * True when answers of a host may come in parts although they are scrubbed: of a signature's secrets none is sent but a session token,
   * so that none can come back a few bytes at a time.
   */
  partsPassAt(host: string, port: number): boolean {
    return this.#scrubPolicies(host, port).every(
      ({ places, sources }) =>
        places.every(({ kind }) => kind === 'sigv4') && !Object.hasOwn(sources, 'sessionToken'),
    );
  }

  #scrubPolicies(host: string, port: number): CredentialPolicy[] {
    const held = [...this.#held.values()].map(({ policy }) => policy);
    const isAtHome = (policy: CredentialPolicy): boolean => isHomeHost(policy, host, port);
    // A policy that says now that it is not to be scrubbed there is obeyed.
    const lifted = new Set(
      held.filter((policy) => !policy.scrub && isAtHome(policy)).map(({ name }) => name),
    );
    return [...held, ...this.#former].filter(
      (policy) => policy.scrub && isAtHome(policy) && !lifted.has(policy.name),
    );
  }

  renew(name: string): void {
    const held = this.demand(name);
    const former = held.renew(this.#taken());
    for (const [field, text] of former)
      this.#remember({ kind: 'stale', credential: name, field }, Buffer.from(text));
    this.#forget();
  }

  /** What a text is, when it is exactly one of the placeholders, valid or stale. Takes the same time for all. */
  identify(text: string): Known | undefined {
    this.#table ??= this.#constantTime.table(this.#placeholders());
    return this.#table(text);
  }

  same(a: string, b: string): boolean {
    return this.#constantTime.same(a, b);
  }

  recognizer(): Recognizer {
    this.#recognizer ??= new Recognizer([...this.known()]);
    return this.#recognizer;
  }

  *known(): Generator<KnownBytes> {
    for (const held of this.#held.values()) yield* held.known();
    yield* this.#gone;
  }

  dispose(): void {
    this.#disposed = true;
    for (const held of this.#held.values()) held.wipe();
    for (const { bytes } of this.#gone) bytes.fill(0);
    this.#gone = [];
    this.#forget();
  }

  /** What was made of the values and placeholders as they were. */
  #forget(): void {
    this.#recognizer = undefined;
    this.#table = undefined;
  }

  *#placeholders(): Generator<readonly [string, Known]> {
    for (const held of this.#held.values())
      for (const [field, text] of held.placeholders)
        yield [text, { kind: 'placeholder', credential: held.name, field }];
    for (const { known, bytes } of this.#gone)
      if (known.kind === 'stale') yield [Buffer.from(bytes).toString(), known];
  }

  #taken(): ReadonlySet<string> {
    return new Set([...this.#placeholders()].map(([text]) => text));
  }

  /** What a credential had is recognised from now on as no longer valid. */
  #retire(held: Held, what: 'all' | 'values' = 'all'): void {
    for (const { known, bytes } of held.known()) {
      if (known.kind !== 'placeholder') this.#remember({ ...known, kind: 'revoked' }, Buffer.from(bytes));
      else if (what === 'all') this.#remember({ ...known, kind: 'stale' }, bytes);
    }
    this.#former.push(held.policy);
    this.#former.splice(0, Math.max(0, this.#former.length - GONE_MAX));
    held.wipe();
    this.#held.delete(held.name);
  }

  #remember(known: Known, bytes: Uint8Array): void {
    this.#gone.push({ known, bytes });
    for (const entry of this.#gone.splice(0, Math.max(0, this.#gone.length - GONE_MAX))) entry.bytes.fill(0);
  }
}

function isSecret({ kind }: Known): boolean {
  return kind === 'secret' || kind === 'revoked';
}

function sameHomes(a: CredentialPolicy, b: CredentialPolicy): boolean {
  return canonicalJson(a.hosts) === canonicalJson(b.hosts);
}

function sameSources(a: CredentialPolicy, b: CredentialPolicy): boolean {
  return canonicalJson(a.sources) === canonicalJson(b.sources);
}
