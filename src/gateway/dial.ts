import { networkInterfaces } from 'node:os';
import { GloveboxError } from '../base/errors.ts';
import { parseIp } from '../net/ip.ts';
import { BulkSocket } from './bulk-socket.ts';
import type { Dialler } from './contract.ts';

/** TCP keep-alive finds peers that died without a word; tunnels have no idle limit of their own. */
const KEEP_ALIVE_MS = 60_000;

/** Opens real connections. The address must be a literal: with a name, Node would resolve it again, past the guard. */
export const netDialler: Dialler = {
  dial(address, port, signal) {
    const ip = parseIp(address);
    if (ip === undefined)
      return Promise.reject(new GloveboxError('E_EGRESS_DENIED', { what: `${address} is not an address` }));
    return new Promise((resolve, reject) => {
      // autoSelectFamily is on by default and would race addresses of its own choice.
      const options = {
        host: ip.text,
        port,
        family: ip.version,
        autoSelectFamily: false,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_MS,
      };
      const socket = new BulkSocket({ allowHalfOpen: true });
      socket.connect(options);
      const abort = (): void => {
        socket.destroy(new GloveboxError('E_ABORTED', { what: `connecting to ${ip.text} took too long` }));
      };
      socket.once('connect', () => {
        signal.removeEventListener('abort', abort);
        socket.removeListener('error', reject);
        resolve(socket);
      });
      socket.once('error', reject);
      socket.once('close', () => signal.removeEventListener('abort', abort));
      if (signal.aborted) abort();
      else signal.addEventListener('abort', abort, { once: true });
    });
  },
};

/** The addresses of this machine's interfaces, canonical; read at most once a second. */
export function ownAddresses(now: () => number = Date.now): () => ReadonlySet<string> {
  let addresses: ReadonlySet<string> = new Set();
  let readAt = Number.NEGATIVE_INFINITY;
  return () => {
    if (now() - readAt < 1000) return addresses;
    readAt = now();
    const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
    // Link-local entries carry no zone here (`scopeid` is apart), so every address parses.
    addresses = new Set(all.flatMap((entry) => parseIp(entry.address)?.text ?? []));
    return addresses;
  };
}
