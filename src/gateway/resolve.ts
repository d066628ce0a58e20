import { lookup } from 'node:dns';
import { readFile } from 'node:fs/promises';
import { GloveboxError } from '../base/errors.ts';
import { parseIp } from '../net/ip.ts';
import { isCanonicalName } from '../net/name.ts';
import type { Resolver } from './contract.ts';

/** A hosts file larger than this is an ad-block list; it is still read, but not beyond. */
const HOSTS_FILE_MAX = 4 * 1024 * 1024;

/**
 * The host's own resolution, so that /etc/hosts, VPN and mDNS set-ups work: the hosts file first, then `getaddrinfo`.
 *
 * A name of several labels is asked for as an absolute name, so no search domain completes it (`api.example.com.corp.example`).
 * A single label gets here only when a rule says exactly that name, and then the search list is what was meant.
 * glibc does not match an absolute name against /etc/hosts, hence the own look at the file.
 */
export function systemResolver(hostsFile = '/etc/hosts'): Resolver {
  return {
    async resolve(name, signal) {
      // `dns.lookup` cuts names at a NUL and reads numerals as addresses: only canonical names go in.
      if (!isCanonicalName(name))
        throw new GloveboxError('E_EGRESS_DENIED', { what: 'a name that is not canonical' });
      const listed = await fromHostsFile(hostsFile, name);
      if (listed.length > 0) return listed;
      return systemLookup(name.includes('.') ? `${name}.` : name, signal);
    },
  };
}

async function fromHostsFile(file: string, name: string): Promise<string[]> {
  const text = await readFile(file, 'latin1').catch(() => '');
  const found: string[] = [];
  for (const line of text.slice(0, HOSTS_FILE_MAX).split('\n')) {
    const [address = '', ...names] = line.replace(/#.*$/, '').trim().split(/\s+/);
    if (names.some((entry) => entry.toLowerCase() === name) && parseIp(address) !== undefined)
      found.push(address);
  }
  return found;
}

function systemLookup(name: string, signal: AbortSignal): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const abort = (): void =>
      reject(new GloveboxError('E_ABORTED', { what: `looking up ${name} took too long` }));
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    lookup(name, { all: true, verbatim: true }, (error, addresses) => {
      signal.removeEventListener('abort', abort);
      if (error !== null) return reject(error);
      resolve(addresses.map((entry) => entry.address));
    });
  });
}
