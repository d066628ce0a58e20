import type { Socket } from 'node:net';
import { GloveboxError } from '../base/errors.ts';
import { formatAuthority, parseAuthority } from '../net/authority.ts';
import { bypassesProxy, parseNoProxyEntry } from '../net/no-proxy.ts';
import type { ParentProxyPolicy } from '../policy/contract.ts';
import type { Dialler, Resolver } from './contract.ts';
import { readFirst } from './wire.ts';
import type { ReadStep } from './wire.ts';

/** A proxy that answers CONNECT with more than this is none. */
const HEAD_BYTES = 16 * 1024;
/** Time that the proxy has to reach the destination; the caller's own limit is usually shorter. */
const ANSWER_MS = 30_000;

export interface ParentParts {
  readonly policy: ParentProxyPolicy;
  readonly dialler: Dialler;
  readonly resolver: Resolver;
  /** The value of Proxy-Authorization, when the policy names a credential. */
  readonly authorization?: () => Promise<string>;
}

/**
 * Opens connections through a parent proxy (RFC 9110 §9.3.6). It is asked for the vetted address, not for the name: what the guard
 * saw is what is dialled, and a second lookup at the proxy cannot lead elsewhere.
 */
export class ParentProxy {
  readonly #parts: ParentParts;
  readonly #direct: (host: string, port: number) => boolean;
  readonly #proxy: { readonly host: string; readonly port: number; readonly literal: boolean };

  constructor(parts: ParentParts) {
    this.#parts = parts;
    const entries = parts.policy.noProxy.flatMap((text) => parseNoProxyEntry(text) ?? []);
    this.#direct = (host, port) => bypassesProxy(entries, host, port);
    this.#proxy = proxyAddress(parts.policy.url);
  }

  /** The dialler for one destination: the plain one where NO_PROXY says so. `host` is the name that was asked for. */
  diallerFor(host: string, port: number): Dialler {
    if (this.#direct(host, port)) return this.#parts.dialler;
    return {
      dial: (address, dialled, signal) =>
        this.#direct(address, dialled)
          ? this.#parts.dialler.dial(address, dialled, signal)
          : this.#through(address, dialled, signal),
    };
  }

  async #through(address: string, port: number, signal: AbortSignal): Promise<Socket> {
    const socket = await this.#dialProxy(signal);
    const abort = (): void => void socket.destroy();
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (signal.aborted) abort();
      const authority = formatAuthority(address, port);
      socket.write(
        `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${await this.#authorizationLine()}\r\n`,
      );
      await passAnswer(socket);
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** The proxy is the operator's word, not the sandbox's: its address may be private and is not vetted. */
  async #dialProxy(signal: AbortSignal): Promise<Socket> {
    const { host, port, literal } = this.#proxy;
    const addresses = literal ? [host] : await this.#parts.resolver.resolve(host, signal);
    let last: unknown = new GloveboxError('E_EGRESS_DENIED', { what: 'the parent proxy has no address' });
    for (const address of addresses) {
      try {
        const socket = await this.#parts.dialler.dial(address, port, signal);
        socket.on('error', () => socket.destroy());
        return socket;
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async #authorizationLine(): Promise<string> {
    const value = await this.#parts.authorization?.();
    if (value === undefined) return '';
    // A value of several lines would be headers of its own.
    if (!/^[\x20-\x7e]+$/.test(value)) throw refused('has a credential that is no header value');
    return `Proxy-Authorization: ${value}\r\n`;
  }
}

/** Reads the answer's head and leaves what follows it on the socket. */
async function passAnswer(socket: Socket): Promise<void> {
  const first = await readFirst(socket, readAnswer, { timeoutMs: ANSWER_MS, maxBytes: HEAD_BYTES });
  if (first.state !== 'done') throw refused('did not answer');
  const { status, used } = first.value;
  if (status < 200 || status > 299) throw refused(`answered ${status}`);
  if (used < first.bytes.length) socket.unshift(first.bytes.subarray(used));
}

function readAnswer(bytes: Buffer): ReadStep<{ readonly status: number; readonly used: number }> {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return { state: 'more' };
  const line = /^HTTP\/1\.[01] ([0-9]{3})(?: |\r\n)/.exec(
    bytes.toString('latin1', 0, Math.min(end + 2, 256)),
  );
  return { state: 'done', value: { status: Number(line?.[1] ?? 0), used: end + 4 } };
}

function refused(what: string): GloveboxError {
  return new GloveboxError('E_EGRESS_DENIED', { what: `the parent proxy ${what}` });
}

function proxyAddress(url: string): { host: string; port: number; literal: boolean } {
  const authority = parseAuthority(/^http:\/\/([^/?#@]+)\/?$/.exec(url)?.[1] ?? '', 3128);
  if (!authority.ok)
    throw new GloveboxError('E_POLICY_INVALID', {
      what: 'network.parentProxy.url is not http://host:port',
      next: 'Write the address of the proxy alone; its user and password are a credential of the policy.',
    });
  return { host: authority.host.host, port: authority.port, literal: authority.host.kind === 'ip' };
}
