import { createHmac, randomBytes } from 'node:crypto';
import type { RawHeaders } from '../../net/http-head.ts';
import { tokensOf } from '../../net/http-head.ts';
import { compileLinearRegex } from '../../net/linear-regex.ts';
import type { LinearRegex } from '../../net/linear-regex.ts';
import type { DlpPolicy } from '../../policy/contract.ts';
import type { ContentScanner, ScanFinding, ScanRequest } from '../contract.ts';
import { OPENS_MAX, undoCoding } from './containers.ts';
import type { InflateBudget, InflateCap, Problem } from './containers.ts';
import { Engine } from './engine.ts';
import type { Hit, KnownValue } from './engine.ts';
import { headParts, joinParts, partAt } from './head.ts';
import { inspect } from './inspect.ts';
import type { Outcome } from './inspect.ts';
import { dataInHost, SliceIndex } from './names.ts';
import { DLP_PATTERNS } from './patterns.ts';

export interface ScannerOptions {
  readonly policy: DlpPolicy;
  /** Real values that must not leave. The bytes are read when the scanner is built and when the version changes. */
  readonly secrets: () => Iterable<{ readonly name: string; readonly bytes: Uint8Array }>;
  /** Changes whenever `secrets` would answer otherwise. Absent: they are read once, when first needed. */
  readonly secretsVersion?: () => number;
  /** Values that look like tokens and are worth nothing: no pattern counts on them. */
  readonly placeholders?: () => Iterable<{ readonly text: string }>;
  /** Key of the hashes; random by default, so that they mean nothing outside this process. */
  readonly hashKey?: Uint8Array;
}

/** A body of a few bytes may unpack to this much, a larger one to eight times itself, no one to more than `maxInspectBytes`. */
const INFLATE_LEAST = 4 * 1024 * 1024;
const INFLATE_GROWTH = 8;
/** Bytes round an undone escape, unless a secret is longer. */
const AROUND_LEAST = 1024;
const HASH_DIGITS = 12;
/** Bytes of something uninspectable that tell it from another. */
const SAMPLE = 4096;
/** Codings that change nothing here; S3's chunk signatures stand between plain pieces. */
const PLAIN_CODINGS: ReadonlySet<string> = new Set(['', 'identity', 'aws-chunked']);

/** What single messages in a body are packed with (gRPC's "Message-Encoding"; connectrpc.com/docs/protocol); gzip is found by its head. */
const MESSAGE_CODINGS = ['grpc-encoding', 'connect-content-encoding'] as const;
const READ_CODINGS: ReadonlySet<string> = new Set(['', 'identity', 'gzip']);

/**
 * A scanner for the traffic of one sandbox. Throws a TypeError when a pattern of the policy is not RE2 syntax; the policy's loader
 * says so before, with the line.
 */
export function createScanner(options: ScannerOptions): InlineScanner {
  return new DlpScanner(options);
}

/** A scanner that answers at once. */
export interface InlineScanner extends ContentScanner {
  body(body: Uint8Array, headers: RawHeaders): ScanFinding | undefined;
  message(data: Uint8Array): ScanFinding | undefined;
  /** The same answer as `body` and `message` give, or `heavy` when more than so many bytes would have to be unpacked for it. */
  within(inflateBytes: number, data: Uint8Array, headers?: RawHeaders): ScanFinding | undefined | 'heavy';
}

interface Built {
  readonly version: number;
  readonly engine: Engine;
  readonly slices: SliceIndex;
  readonly around: number;
}

interface Custom {
  readonly kind: string;
  readonly regex: LinearRegex;
}

class DlpScanner implements InlineScanner {
  readonly maxInspectBytes: number;
  readonly uninspectable: 'deny' | 'allow';
  readonly action: 'deny' | 'observe';
  readonly everywhere: boolean;
  readonly #options: ScannerOptions;
  readonly #hashKey: Uint8Array;
  readonly #custom: readonly Custom[];
  #built: Built | undefined;

  constructor(options: ScannerOptions) {
    const { policy } = options;
    this.maxInspectBytes = policy.maxInspectBytes;
    this.uninspectable = policy.uninspectable;
    this.action = policy.action;
    this.everywhere = policy.everywhere;
    this.#options = options;
    this.#hashKey = options.hashKey ?? randomBytes(32);
    this.#custom = policy.custom.map(compileCustom);
  }

  name(host: string): ScanFinding | undefined {
    if (!this.#options.policy.names) return undefined;
    const { engine, slices } = this.#current();
    const bytes = Buffer.from(host, 'latin1');
    const hit = engine.scan(bytes);
    if (hit !== undefined) return this.#finding(hit.kind, 'host', hit.value);
    // A value may be spread over labels, or broken by hyphens to look like words.
    for (const text of [host, host.replaceAll('.', ''), host.replaceAll(/[.-]/g, '')]) {
      const known = slices.find(text);
      if (known !== undefined) return this.#finding(known.kind, 'host', known.bytes);
    }
    return dataInHost(host) === undefined ? undefined : this.#finding('data-in-name', 'host', bytes);
  }

  head(request: ScanRequest): ScanFinding | undefined {
    const parts = headParts(request.target, request.headers);
    const whole = joinParts(parts);
    const outcome = this.#inspect(whole, 0);
    const { hit, problem } = outcome;
    if (hit !== undefined && outcome.plain === true)
      return this.#finding(hit.kind, partAt(parts, hit.start), hit.value);
    if (hit !== undefined || problem !== undefined) {
      // Decoded text has no offsets: the parts are looked at one by one. What only their neighbourhood makes is nothing.
      for (const { place, text } of parts) {
        const own = this.#inspect(Buffer.from(text, 'latin1'), 0);
        const finding = this.#outcome(own, place, Buffer.from(text, 'latin1'));
        if (finding !== undefined) return finding;
      }
    }
    return this.#options.policy.names ? this.#slicesIn(request.target) : undefined;
  }

  body(body: Uint8Array, headers: RawHeaders): ScanFinding | undefined {
    return this.#body(body, headers);
  }

  message(data: Uint8Array): ScanFinding | undefined {
    return this.#look(data, 'websocket');
  }

  within(inflateBytes: number, data: Uint8Array, headers?: RawHeaders): ScanFinding | undefined | 'heavy' {
    const cap: InflateCap = { bytes: inflateBytes, reached: false };
    const finding =
      headers === undefined ? this.#look(data, 'websocket', cap) : this.#body(data, headers, cap);
    return cap.reached ? 'heavy' : finding;
  }

  #body(body: Uint8Array, headers: RawHeaders, cap?: InflateCap): ScanFinding | undefined {
    const found = this.#coded(body, headers, cap);
    const packed = MESSAGE_CODINGS.some((name) =>
      tokensOf(headers, name).some((coding) => !READ_CODINGS.has(coding)),
    );
    return found === undefined && packed ? this.#uninspectable('coding', 'body', body) : found;
  }

  #coded(body: Uint8Array, headers: RawHeaders, cap?: InflateCap): ScanFinding | undefined {
    const codings = tokensOf(headers, 'content-encoding').filter((coding) => !PLAIN_CODINGS.has(coding));
    if (codings.length === 0) return this.#look(body, 'body', cap);
    const budget = this.#budget(body.length, cap);
    const decoded = this.#undo(codings, body, budget);
    if (typeof decoded === 'string') {
      const found = cap?.reached === true ? undefined : this.#look(body, 'body', cap);
      return found ?? this.#uninspectable(decoded, 'body', body);
    }
    const raw = this.#scan(body);
    if (raw !== undefined) return this.#finding(raw.kind, 'body', raw.value);
    return this.#outcome(this.#inspect(decoded, codings.length, budget), 'body', body);
  }

  #look(data: Uint8Array, place: string, cap?: InflateCap): ScanFinding | undefined {
    const large = data.length > this.maxInspectBytes;
    if (large && this.uninspectable === 'deny') return this.#uninspectable('size', place, data);
    const seen = large ? data.subarray(0, this.maxInspectBytes) : data;
    const finding = this.#outcome(this.#inspect(seen, 0, this.#budget(seen.length, cap)), place, data);
    return finding === undefined && large ? this.#uninspectable('size', place, data) : finding;
  }

  /** The codings as the sender put them on, so undone from the last. */
  #undo(codings: readonly string[], body: Uint8Array, budget: InflateBudget): Uint8Array | Problem {
    if (codings.length > this.#options.policy.decodeDepth) return 'depth';
    let data = body;
    for (const coding of codings.toReversed()) {
      const plain = undoCoding(coding, data, budget);
      if (typeof plain === 'string') return plain;
      data = plain;
    }
    return data;
  }

  #inspect(data: Uint8Array, undone: number, budget = this.#budget(data.length)): Outcome {
    return inspect(data, {
      scan: (view) => this.#scan(view),
      depth: this.#options.policy.decodeDepth,
      undone,
      stopAtProblem: this.uninspectable === 'deny',
      around: this.#current().around,
      budget,
    });
  }

  #scan(view: Uint8Array): Hit | undefined {
    const hit = this.#current().engine.scan(view);
    if (hit !== undefined || this.#custom.length === 0) return hit;
    const text = Buffer.from(view.buffer, view.byteOffset, view.length).toString('utf8');
    const custom = this.#custom.find(({ regex }) => regex.test(text));
    return custom === undefined ? undefined : { kind: custom.kind, value: view, start: 0 };
  }

  #slicesIn(target: string): ScanFinding | undefined {
    const known = this.#current().slices.find(target);
    if (known === undefined) return undefined;
    const query = target.indexOf('?');
    const inPath = query === -1 || this.#current().slices.find(target.slice(0, query)) !== undefined;
    return this.#finding(known.kind, inPath ? 'path' : 'query', known.bytes);
  }

  #budget(length: number, cap?: InflateCap): InflateBudget {
    const left = Math.min(this.maxInspectBytes, Math.max(INFLATE_LEAST, INFLATE_GROWTH * length));
    if (cap === undefined) return { left, opens: OPENS_MAX };
    return { left: Math.min(left, cap.bytes), opens: OPENS_MAX, cap };
  }

  #current(): Built {
    const version = this.#options.secretsVersion?.() ?? 0;
    if (this.#built?.version !== version) this.#built = this.#build(version);
    return this.#built;
  }

  #build(version: number): Built {
    const { policy, secrets, placeholders } = this.#options;
    const known: KnownValue[] = policy.canaries
      .filter((canary) => canary !== '')
      .map((canary) => ({ kind: 'canary', bytes: Buffer.from(canary, 'utf8') }));
    for (const { name, bytes } of secrets())
      known.push({ kind: `secret:${name}`, bytes: Uint8Array.from(bytes) });
    const exempt = function* (): Generator<Uint8Array> {
      for (const { text } of placeholders?.() ?? []) yield Buffer.from(text, 'utf8');
    };
    const engine = new Engine({ known, patterns: policy.patterns ? DLP_PATTERNS : [], exempt });
    const longest = known.reduce((most, { bytes }) => Math.max(most, bytes.length), AROUND_LEAST);
    return { version, engine, slices: new SliceIndex(known), around: longest };
  }

  #outcome({ hit, problem }: Outcome, place: string, data: Uint8Array): ScanFinding | undefined {
    if (hit !== undefined) return this.#finding(hit.kind, place, hit.value);
    return problem === undefined ? undefined : this.#uninspectable(problem, place, data);
  }

  #uninspectable(problem: Problem, place: string, data: Uint8Array): ScanFinding {
    return this.#finding(`uninspectable:${problem}`, place, data.subarray(0, SAMPLE));
  }

  #finding(kind: string, place: string, value: Uint8Array): ScanFinding {
    const hash = createHmac('sha256', this.#hashKey).update(value).digest('hex').slice(0, HASH_DIGITS);
    return { kind, place, hash };
  }
}

function compileCustom({ name, pattern }: { readonly name: string; readonly pattern: string }): Custom {
  const compiled = compileLinearRegex(pattern);
  if (!compiled.ok) throw new TypeError(`dlp pattern ${name}: ${compiled.why}`);
  return { kind: `custom:${name}`, regex: compiled.regex };
}
