import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { GloveboxError } from '../base/errors.ts';
import { gloveboxDirs } from '../base/paths.ts';
import type { CredentialPolicy } from '../policy/contract.ts';
import { authorizeRequest, checkRequest } from './authorize.ts';
import type {
  BodyWatch,
  Broker,
  BrokerOptions,
  CredentialStatus,
  CredentialVerdict,
  MaskedFile,
  OutgoingRequest,
  RefuseVerdict,
  Scrubber,
  SourceContext,
} from './contract.ts';
import type { Desk } from './desk.ts';
import { formHead } from './form-fields.ts';
import { watchForm } from './form-judge.ts';
import { bodyOwners, needsBody, swappableFor } from './homes.ts';
import type { Held } from './held.ts';
import { Keyring } from './keyring.ts';
import { maskContent, maskFile } from './masked-files.ts';
import type { MaskedSecret } from './masked-files.ts';
import { Refusals } from './refusals.ts';
import { foreignHash } from './same.ts';
import { ReplyScrubber, ScrubTable } from './scrub.ts';
import type { Scrubbed } from './scrub.ts';
import { readSource } from './sources.ts';
import { isRedirected } from './untrusted.ts';

/**
 * Makes the broker of one sandbox. Every source is read now, all at once, because a secret that is not known cannot be recognised when it
 * comes from inside. One that fails is told to `onNotice` and in `status`, and its requests are refused until it works.
 */
export async function createBroker(options: BrokerOptions): Promise<Broker> {
  const broker = new SandboxBroker(options);
  await broker.update(options.credentials);
  return broker;
}

class SandboxBroker implements Broker {
  readonly #sandbox: string;
  readonly #untrusted: readonly string[];
  readonly #keyring: Keyring;
  readonly #foreignKey: Uint8Array;
  readonly #clock: () => number;
  readonly #abort = new AbortController();
  /** One table a host, until something changes. */
  readonly #tables = new Map<string, ScrubTable | undefined>();

  constructor(options: BrokerOptions) {
    this.#sandbox = options.sandbox;
    this.#untrusted = options.untrusted ?? [];
    this.#foreignKey = options.foreignKey ?? randomBytes(32);
    this.#clock = options.clock ?? Date.now;
    const context = sourceContext(options, this.#abort.signal);
    this.#keyring = new Keyring({
      read: (source) => readSource(source, context),
      now: options.now ?? (() => performance.now()),
      changed: (what, credential) => {
        this.#tables.clear();
        const status = this.#keyring.get(credential)?.status();
        const why = status?.state === 'failed' ? status.why : undefined;
        if (what !== 'loaded')
          options.onNotice?.({ kind: what, credential, message: noticeText(what, credential, why) });
      },
    });
  }

  wantsBody(request: OutgoingRequest): boolean {
    return needsBody(this.#keyring, request);
  }

  readsForm(request: OutgoingRequest): boolean {
    return request.rule.requests?.pin !== undefined && formHead(request.headers) !== undefined;
  }

  authorize(request: OutgoingRequest): Promise<CredentialVerdict> {
    return authorizeRequest(this.#desk(), request);
  }

  check(request: OutgoingRequest): RefuseVerdict | undefined {
    return checkRequest(this.#desk(), request);
  }

  watchBody(request: OutgoingRequest): BodyWatch | undefined {
    // A body that was there whole has been judged, and what leaves holds the secret that was put in.
    if (this.#keyring.size === 0 || request.body !== undefined) return undefined;
    const swappable = swappableFor(this.#keyring, request);
    const owners = new Set(bodyOwners(swappable, request).map(({ name }) => name));
    const watch = this.#keyring
      .recognizer()
      .watch(({ kind, credential }) => kind === 'placeholder' && owners.has(credential));
    const refusals = new Refusals(request);
    const verdict = (): ReturnType<BodyWatch['end']> =>
      watch.found === undefined ? undefined : refusals.known(watch.found, 'the body').verdict;
    const form = watchForm({ request, swappable, refusals, hash: this.#desk().hash });
    return {
      update: (chunk) => {
        watch.step(chunk);
        return verdict() ?? (typeof form === 'function' ? form(chunk) : form)?.verdict;
      },
      end: verdict,
    };
  }

  scrubber(host: string, port: number): Scrubber | undefined {
    const table = this.#tableFor(host, port);
    return table === undefined ? undefined : new ReplyScrubber(table, this.#keyring.partsPassAt(host, port));
  }

  environment(): Record<string, string> {
    const pairs = [...this.#keyring.all()].flatMap((held) =>
      Object.entries(held.policy.expose.env).flatMap(([variable, field]) => {
        const text = held.placeholders.get(field);
        return text === undefined ? [] : [[variable, text] as const];
      }),
    );
    return Object.fromEntries(pairs);
  }

  maskedVariables(variables: Readonly<Record<string, string>>): Record<string, string> {
    const secrets = [...this.#keyring.all()].flatMap((held) => maskedSecretsOf(held));
    const masked = Object.entries(variables).flatMap(([name, value]) => {
      const text = maskContent(Buffer.from(value), secrets).content.toString();
      return text === value ? [] : [[name, text] as const];
    });
    return Object.fromEntries(masked);
  }

  async files(): Promise<readonly MaskedFile[]> {
    const paths = new Map<string, CredentialPolicy[]>();
    for (const { policy } of this.#keyring.all())
      for (const path of policy.expose.files) paths.set(path, [...(paths.get(path) ?? []), policy]);
    return Promise.all([...paths].map(([path, policies]) => this.#maskedFile(path, policies)));
  }

  *knownSecrets(): Generator<{ readonly name: string; readonly bytes: Uint8Array }> {
    for (const { known, bytes } of this.#keyring.known())
      if (known.kind === 'secret' || known.kind === 'revoked') yield { name: known.credential, bytes };
  }

  *placeholders(): Generator<{ readonly name: string; readonly field: string; readonly text: string }> {
    for (const held of this.#keyring.all())
      for (const [field, text] of held.placeholders) yield { name: held.name, field, text };
  }

  async basicAuthorization(name: string): Promise<string> {
    const held = this.#keyring.demand(name);
    await held.settle();
    const usable = held.usable();
    const value = typeof usable === 'string' ? undefined : new Map(usable).get('value');
    if (value === undefined)
      throw new GloveboxError('E_CREDENTIAL_SOURCE', { what: `the source of ${name} gives no secret` });
    return `Basic ${Buffer.from(value).toString('base64')}`;
  }

  status(): readonly CredentialStatus[] {
    return [...this.#keyring.all()].map((held) => held.status());
  }

  async update(credentials: readonly CredentialPolicy[]): Promise<void> {
    const read = this.#keyring.update(credentials);
    // Hosts and places are the new ones already, while sources are still being read.
    this.#tables.clear();
    await read;
    this.#tables.clear();
  }

  async refresh(name: string): Promise<void> {
    await this.#keyring.demand(name).refresh();
  }

  revoke(name: string): void {
    this.#keyring.demand(name).revoke();
  }

  renew(name: string): void {
    this.#keyring.renew(name);
    this.#tables.clear();
  }

  dispose(): void {
    this.#abort.abort();
    this.#keyring.dispose();
    this.#tables.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
    return Promise.resolve();
  }

  /** What `JSON.stringify` and `console.log` show: names and states, nothing else. */
  toJSON(): object {
    return { sandbox: this.#sandbox, credentials: this.status() };
  }

  [inspect.custom](): string {
    return `Broker ${JSON.stringify(this)}`;
  }

  #desk(): Desk {
    const hash = (value: string): string => foreignHash(this.#foreignKey, value);
    return { keyring: this.#keyring, hash, clock: this.#clock };
  }

  #tableFor(host: string, port: number): ScrubTable | undefined {
    const key = `${host} ${port}`;
    if (this.#tables.has(key)) return this.#tables.get(key);
    const scrubbed = [...this.#keyring.scrubbedAt(host, port)].map(({ known, bytes }): Scrubbed => {
      const { credential, field } = known;
      return { secret: bytes, placeholder: this.#keyring.get(credential)?.placeholders.get(field) ?? '' };
    });
    const table = scrubbed.length === 0 ? undefined : new ScrubTable(scrubbed);
    this.#tables.set(key, table);
    return table;
  }

  async #maskedFile(path: string, policies: readonly CredentialPolicy[]): Promise<MaskedFile> {
    if (isRedirected(path, this.#untrusted))
      return { state: 'refused', path, why: 'a link in a tree that the sandbox may write leads elsewhere' };
    const secrets: MaskedSecret[] = [];
    for (const { name: credential } of policies) {
      const held = this.#keyring.get(credential);
      await held?.settle();
      const found = held === undefined ? [] : maskedSecretsOf(held);
      if (found.length === 0)
        return { state: 'refused', path, why: `${credential} is not loaded, so it cannot be masked` };
      secrets.push(...found);
    }
    return maskFile(path, secrets);
  }
}

/** Nothing when it is not loaded. */
function maskedSecretsOf(held: Held): MaskedSecret[] {
  const usable = held.usable();
  if (typeof usable === 'string') return [];
  return [...usable].map(([field, secret]) => ({
    credential: held.name,
    field,
    secret,
    placeholder: held.placeholders.get(field) ?? '',
  }));
}

function sourceContext(options: BrokerOptions, signal: AbortSignal): SourceContext {
  const dirs = gloveboxDirs(options.hostEnv);
  return {
    env: options.hostEnv,
    configDir: options.configDir ?? dirs.config,
    stateDir: options.stateDir ?? dirs.state,
    untrusted: options.untrusted ?? [],
    warn: (message) => options.onNotice?.({ kind: 'warning', message }),
    signal,
  };
}

function noticeText(
  what: 'source-failed' | 'source-refreshed' | 'revoked',
  credential: string,
  why = 'it cannot be read',
): string {
  switch (what) {
    case 'source-failed':
      return `credentials.${credential} has no secret, and requests that need it are refused: ${why}`;
    case 'source-refreshed':
      return `${credential} has a new value`;
    default:
      return `${credential} is revoked; its requests are refused`;
  }
}
