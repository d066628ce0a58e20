import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import { GloveboxError } from '../../base/errors.ts';
import { judgeForHost, type AddressClass, type AddressJudgement } from '../../net/ip-class.ts';
import { parseIp, type IpAddress } from '../../net/ip.ts';

/** All addresses of a name, as text. */
export type Resolve = (name: string) => Promise<readonly string[]>;

const systemResolve: Resolve = async (name) =>
  (await lookup(name, { all: true })).map(({ address }) => address);

/** The host of a URL as `parseIp` and resolvers want it. */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '');

/** The addresses of hosts, each asked for once: what was looked at is what is dialled. */
export class HostAddresses {
  readonly #resolve: Resolve;
  readonly #known = new Map<string, Promise<readonly IpAddress[]>>();

  constructor(resolve: Resolve = systemResolve) {
    this.#resolve = resolve;
  }

  of(host: string): Promise<readonly IpAddress[]> {
    const before = this.#known.get(host);
    if (before !== undefined) return before;
    const found = this.#find(host);
    this.#known.set(host, found);
    return found;
  }

  async #find(host: string): Promise<readonly IpAddress[]> {
    const literal = parseIp(host);
    if (literal !== undefined) return [literal];
    return (await this.#resolve(host)).flatMap((text) => parseIp(text) ?? []);
  }
}

const PUBLIC: readonly AddressClass[] = ['public'];

/** Where else a registry may lead to, by where it stands itself. Whoever answers names with synthetic addresses does so for all. */
const REACH: Partial<Record<AddressClass, readonly AddressClass[]>> = {
  private: ['public', 'private'],
  synthetic: ['public', 'synthetic'],
  loopback: ['public', 'private', 'loopback', 'host'],
  host: ['public', 'private', 'loopback', 'host'],
};

/**
 * The addresses of `url` that a registry may lead to: never further into this machine or its network than the registry stands, which
 * the person named.
 *
 * @throws E_IMAGE_REGISTRY when there is none
 */
export function vetted(
  url: URL,
  addresses: readonly IpAddress[],
  registry: { readonly host: string; readonly addresses: readonly IpAddress[] },
): readonly IpAddress[] {
  const own = ownAddresses();
  const reach = reachOf(registry.addresses.map((ip) => judgeForHost(ip, own)));
  const fine = addresses.filter((ip) => reach.includes(judgeForHost(ip, own).class));
  if (fine.length > 0) return fine;
  const [first] = addresses;
  throw new GloveboxError('E_IMAGE_REGISTRY', {
    what: `${registry.host} leads to ${url.host}`,
    why:
      first === undefined
        ? 'which has no address'
        : `which is ${judgeForHost(first, own).what}${first.text === hostOf(url) ? '' : `, ${first.text}`}`,
  });
}

/** What all addresses allow: one that is public makes the registry a public one. */
function reachOf(judgements: readonly AddressJudgement[]): readonly AddressClass[] {
  const reaches = judgements.map(({ class: kind }) => REACH[kind] ?? PUBLIC);
  const [first = PUBLIC, ...rest] = reaches;
  return first.filter((kind) => rest.every((reach) => reach.includes(kind)));
}

function ownAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return new Set(all.flatMap(({ address }) => parseIp(address)?.text ?? []));
}
