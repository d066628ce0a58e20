import { createHmac, randomBytes } from 'node:crypto';
import type { RawHeaders } from '../../net/http-head.ts';
import type { ContentScanner, ScanFinding, Scanned, ScanRequest } from '../contract.ts';
import { createScanner } from './scanner.ts';
import type { InlineScanner, ScannerOptions } from './scanner.ts';
import type { ScanThread } from './thread.ts';
import type { ScanConfig } from './thread-protocol.ts';

export { ScanThread } from './thread.ts';

/** What is looked into on the spot: 5 ms of it in ordinary traffic, less than a thread's start. */
export const INLINE_BYTES = 256 * 1024;
/** Own patterns take up to thousands of steps a byte. */
export const INLINE_CUSTOM_BYTES = 16 * 1024;

/**
 * A scanner that gives what is large, or unpacks to much, to a thread. Its verdicts are those of `createScanner`; when the thread
 * gives none, that is a finding of kind `unscanned:…`, so that the request is refused.
 *
 * @throws TypeError when a pattern of the policy is not RE2 syntax
 */
export function createThreadedScanner(options: ScannerOptions, thread: ScanThread): ContentScanner {
  return new ThreadedScanner(options, thread);
}

class ThreadedScanner implements ContentScanner {
  readonly maxInspectBytes: number;
  readonly uninspectable: 'deny' | 'allow';
  readonly action: 'deny' | 'observe';
  readonly everywhere: boolean;
  readonly #options: ScannerOptions & { readonly hashKey: Uint8Array };
  readonly #thread: ScanThread;
  readonly #inline: InlineScanner;
  readonly #inlineBytes: number;
  #told: { readonly version: number; readonly config: ScanConfig } | undefined;

  constructor(options: ScannerOptions, thread: ScanThread) {
    const { policy } = options;
    this.maxInspectBytes = policy.maxInspectBytes;
    this.uninspectable = policy.uninspectable;
    this.action = policy.action;
    this.everywhere = policy.everywhere;
    this.#options = { ...options, hashKey: options.hashKey ?? randomBytes(32) };
    this.#thread = thread;
    this.#inline = createScanner(this.#options);
    this.#inlineBytes = policy.custom.length > 0 ? INLINE_CUSTOM_BYTES : INLINE_BYTES;
  }

  name(host: string): ScanFinding | undefined {
    return this.#inline.name(host);
  }

  head(request: ScanRequest): ScanFinding | undefined {
    return this.#inline.head(request);
  }

  body(body: Uint8Array, headers: RawHeaders): Scanned {
    return this.#scan('body', body, headers);
  }

  message(data: Uint8Array): Scanned {
    return this.#scan('websocket', data);
  }

  #scan(place: string, data: Uint8Array, headers?: RawHeaders): Scanned {
    if (data.length <= this.#inlineBytes) {
      const finding = this.#inline.within(this.#inlineBytes, data, headers);
      if (finding !== 'heavy') return finding;
    }
    return this.#inThread(place, data, headers);
  }

  async #inThread(place: string, data: Uint8Array, headers?: RawHeaders): Promise<ScanFinding | undefined> {
    const exempt = Array.from(this.#options.placeholders?.() ?? [], ({ text }) => text);
    const work = headers === undefined ? { data, exempt } : { data, exempt, headers };
    const result = await this.#thread.scan(this.#config(), work);
    if (result.ok) return result.finding;
    const hash = createHmac('sha256', this.#options.hashKey).update(data.subarray(0, 4096)).digest('hex');
    return { kind: `unscanned:${result.why}`, place, hash: hash.slice(0, 12) };
  }

  /** The same object until a secret changes. */
  #config(): ScanConfig {
    const { policy, hashKey, secrets, secretsVersion } = this.#options;
    const version = secretsVersion?.() ?? 0;
    if (this.#told?.version !== version) {
      const copies = Array.from(secrets(), ({ name, bytes }) => ({ name, bytes: Uint8Array.from(bytes) }));
      this.#told = { version, config: { policy, hashKey, secrets: copies } };
    }
    return this.#told.config;
  }
}
