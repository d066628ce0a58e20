import { askDns, dnsQuery } from '../dns-client.ts';
import type { Resolver } from '../../../src/gateway/contract.ts';
import { expandBytes, expandMessage } from './expand.ts';
import type { Case, Input } from './load.ts';
import { stageFor } from './stage.ts';
import type { Stage, StageOptions, Suite } from './stage.ts';
import { connectThrough, dial, secure } from './wire.ts';
import type { Wire } from './wire.ts';

export interface RunOptions {
  readonly http2?: boolean;
}

/** A client connection after CONNECT and TLS; or what stood in its way. */
export type Opened =
  | { readonly state: 'open'; readonly wire: Wire }
  | { readonly state: 'closed'; readonly reply: Buffer; readonly error?: string };

/** One row on its way: its sandboxes and the connections that later steps use again. */
export class Run {
  readonly suite: Suite;
  readonly row: Case;
  readonly #options: RunOptions;
  readonly #stages = new Map<string, Promise<Stage>>();
  readonly #open = new Map<string, Wire>();
  /** Answers of the current step; undefined: those of the fixtures. */
  resolver: ((name: string) => Promise<readonly string[]>) | undefined;
  ticket: Buffer | undefined;
  tunnel: Wire | undefined;

  constructor(suite: Suite, row: Case, options: RunOptions, stage?: Stage) {
    this.suite = suite;
    this.row = row;
    this.#options = options;
    if (stage !== undefined) this.#stages.set('s1', Promise.resolve(stage));
  }

  /** The sandbox of a step; each name has a gateway of its own. */
  stage(input: Input): Promise<Stage> {
    const name = input.sandbox ?? 's1';
    const known = this.#stages.get(name);
    if (known !== undefined) return known;
    const stage = stageFor(this.suite, this.row, this.#stageOptions(input));
    this.#stages.set(name, stage);
    return stage;
  }

  /** Another gateway in its place. */
  async restart(input: Input, options: StageOptions = {}): Promise<Stage> {
    const name = input.sandbox ?? 's1';
    await (await this.#stages.get(name))?.close();
    const stage = stageFor(this.suite, this.row, { ...this.#stageOptions(input), ...options });
    this.#stages.set(name, stage);
    return stage;
  }

  /** A connection through CONNECT and TLS; a later step on the same sandbox and host uses it again. */
  async connection(stage: Stage, input: Input, authority: string): Promise<Opened> {
    const key = `${input.sandbox ?? ''} ${authority}`;
    const known = this.#open.get(key);
    if (known !== undefined && !known.closed) return { state: 'open', wire: known };
    const opened = await open(stage, authority);
    if (opened.state === 'open') this.#open.set(key, opened.wire);
    return opened;
  }

  async close(): Promise<void> {
    for (const wire of this.#open.values()) wire.destroy();
    this.tunnel?.destroy();
    for (const stage of this.#stages.values()) await (await stage).close();
  }

  #stageOptions(input: Input): StageOptions {
    const { names } = this.suite.file.fixtures;
    const { attackerAddress } = this.suite.file.fixtures;
    const resolver: Resolver = {
      resolve: (name) => {
        const own = this.resolver?.(name);
        return own ?? Promise.resolve(names[name]?.A ?? [attackerAddress]);
      },
    };
    const http2 = this.#options.http2 ?? false;
    const usesResolver = input.op === 'resolve';
    const dialFails = input.dialFails ?? [];
    return { http2, dialFails, ...(usesResolver ? { resolver } : {}), ...tuned(this.row) };
  }
}

/** Rows that count to thousands need room in bounds that are not theirs. */
function tuned(row: Case): StageOptions {
  return row.input.op === 'repeat' && row.input.of === 'tls' && (row.input.count ?? 0) > 50
    ? { limits: { wildcardNamesPerMinute: 100_000 } }
    : {};
}

/** CONNECT and TLS, with SNI = host, by a client that trusts the sandbox's CA. */
export async function open(stage: Stage, authority: string): Promise<Opened> {
  const wire = await dial(stage.bench.proxy);
  if (!(await connectThrough(wire, authority))) {
    wire.destroy();
    return { state: 'closed', reply: wire.bytes };
  }
  return openTls(stage, wire, hostOf(authority));
}

/** TLS with SNI = host, HTTP/1.1. */
export async function openTls(stage: Stage, wire: Wire, host: string): Promise<Opened> {
  const { clientContext } = stage.suite.world;
  const { wire: inner, error } = await secure(wire, {
    servername: host,
    secureContext: clientContext,
    ALPNProtocols: ['http/1.1'],
  });
  if (inner !== undefined) return { state: 'open', wire: inner };
  wire.destroy();
  return { state: 'closed', reply: wire.bytes, ...(error === undefined ? {} : { error }) };
}

export function hostOf(authority: string): string {
  return /^\[?(.*?)\]?:\d+$/.exec(authority)?.[1] ?? authority;
}

export function portOfAuthority(authority: string): number {
  return Number(/:(\d+)$/.exec(authority)?.[1] ?? 443);
}

/** A row's text as bytes, non-ASCII letters in UTF-8. */
export function bytesOf(stage: Stage, text: string): Buffer {
  return expandBytes(text, stage.strings, 'utf8');
}

export function textOf(stage: Stage, text: string): string {
  return bytesOf(stage, text).toString('utf8');
}

export function messageOf(stage: Stage, text: string): Buffer[] {
  return expandMessage(text, stage.strings, 'utf8');
}

/** The synthetic address of a name, as programs learn it. */
export async function syntheticOf(stage: Stage, host: string): Promise<string> {
  const reply = await askDns(stage.bench.dnsUdp, dnsQuery(host.split('.')));
  return reply?.addresses[0] ?? '198.18.99.99';
}
