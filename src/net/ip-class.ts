import type { IpAddress } from './ip.ts';
import { parseIp, quadToNumber } from './ip.ts';

/**
 * What an address is, for the guard. Only `public` may be dialled by any rule and `private` by a rule that says so;
 * the others by none.
 */
export type AddressClass =
  | 'public'
  | 'private'
  | 'loopback'
  | 'link-local'
  | 'metadata'
  | 'unspecified'
  | 'multicast'
  | 'synthetic'
  | 'reserved'
  | 'host';

export interface AddressJudgement {
  readonly class: AddressClass;
  /** What the range is and who says so, for people. */
  readonly what: string;
}

type Range = readonly [network: number, bits: number, judgement: AddressJudgement];

const v4 = (cidr: string, kind: AddressClass, what: string): Range => {
  const [network = '', bits = ''] = cidr.split('/');
  return [quadToNumber(parseIp(network)?.bytes ?? []), Number(bits), { class: kind, what }];
};

/** First match wins, so single metadata addresses stand before the ranges round them. Source: IANA special-purpose registry. */
const RANGES_V4: readonly Range[] = [
  v4('169.254.169.254/32', 'metadata', 'a cloud metadata service'),
  v4('169.254.170.2/32', 'metadata', 'the ECS task credential service'),
  v4('169.254.170.23/32', 'metadata', 'the EKS pod identity service'),
  v4('100.100.100.200/32', 'metadata', 'the Alibaba metadata service'),
  v4('168.63.129.16/32', 'metadata', 'the Azure wire server'),
  v4('192.0.0.192/32', 'metadata', 'the Oracle metadata service'),
  v4('0.0.0.0/8', 'unspecified', 'this host (RFC 1122)'),
  v4('10.0.0.0/8', 'private', 'a private network (RFC 1918)'),
  v4('100.64.0.0/10', 'private', 'carrier-grade NAT (RFC 6598)'),
  v4('127.0.0.0/8', 'loopback', 'loopback (RFC 1122)'),
  v4('169.254.0.0/16', 'link-local', 'link-local (RFC 3927)'),
  v4('172.16.0.0/12', 'private', 'a private network (RFC 1918)'),
  v4('192.0.0.0/24', 'reserved', 'IETF protocol assignments (RFC 6890)'),
  v4(
    '192.0.2.0/24',
    'private',
    'documentation (RFC 5737): on no public route, so a private network where it answers',
  ),
  v4('192.88.99.0/24', 'reserved', '6to4 relay anycast (RFC 7526)'),
  v4('192.168.0.0/16', 'private', 'a private network (RFC 1918)'),
  v4('198.18.0.0/15', 'synthetic', 'the benchmark range (RFC 2544), where synthetic addresses live'),
  v4(
    '198.51.100.0/24',
    'private',
    'documentation (RFC 5737): on no public route, so a private network where it answers',
  ),
  v4(
    '203.0.113.0/24',
    'private',
    'documentation (RFC 5737): on no public route, so a private network where it answers',
  ),
  v4('224.0.0.0/4', 'multicast', 'multicast (RFC 5771)'),
  v4('240.0.0.0/4', 'reserved', 'reserved or broadcast (RFC 1112)'),
];

const PUBLIC: AddressJudgement = { class: 'public', what: 'a public address' };

/** Provider services inside the unique-local range: AWS `fd00:ec2::/32`, Google `fd20:ce::/32`, Scaleway `fd00:42::/32`. */
const METADATA_V6: readonly (readonly [number, number])[] = [
  [0xfd00, 0xec2],
  [0xfd20, 0xce],
  [0xfd00, 0x42],
];

/** Judges an address by its number alone; `judgeForHost` adds what only this machine knows. */
export function judgeAddress(ip: IpAddress): AddressJudgement {
  return ip.version === 4 ? judgeV4(ip) : judgeV6(ip);
}

/** As `judgeAddress`; the machine's own interface addresses (text form of `parseIp`) are class `host`. */
export function judgeForHost(ip: IpAddress, own: ReadonlySet<string>): AddressJudgement {
  const judgement = judgeAddress(ip);
  const open = judgement.class === 'public' || judgement.class === 'private';
  return open && own.has(ip.text) ? { class: 'host', what: 'an address of this machine' } : judgement;
}

function judgeV4(ip: IpAddress): AddressJudgement {
  const value = quadToNumber(ip.bytes);
  for (const [network, bits, judgement] of RANGES_V4) {
    const size = 2 ** (32 - bits);
    if (value >= network && value < network + size) return judgement;
  }
  return PUBLIC;
}

/**
 * IPv6 is judged by a positive rule: public is 2000::/3 without 2001::/23, 2001:db8::/32, 2002::/16 and 3fff::/20, so that every
 * form that carries an IPv4 address inside (mapped, compatible, translated, NAT64, 6to4, Teredo) falls outside by itself.
 */
function judgeV6(ip: IpAddress): AddressJudgement {
  const group = (index: number): number => (ip.bytes[index * 2] ?? 0) * 256 + (ip.bytes[index * 2 + 1] ?? 0);
  const [first, second] = [group(0), group(1)];
  if (METADATA_V6.some(([a, b]) => a === first && b === second)) {
    return { class: 'metadata', what: 'a cloud metadata service' };
  }
  if ((first & 0xe000) === 0x2000) return judgeGlobal(first, second);
  if ((first & 0xfe00) === 0xfc00) return { class: 'private', what: 'a unique-local address (RFC 4193)' };
  if ((first & 0xffc0) === 0xfe80) return { class: 'link-local', what: 'link-local (RFC 4291)' };
  if ((first & 0xff00) === 0xff00) return { class: 'multicast', what: 'multicast (RFC 4291)' };
  if (ip.text === '::1') return { class: 'loopback', what: 'loopback (RFC 4291)' };
  if (ip.text === '::') return { class: 'unspecified', what: 'this host (RFC 4291)' };
  return { class: 'reserved', what: 'outside global unicast, or an IPv4 address in another form (RFC 6890)' };
}

function judgeGlobal(first: number, second: number): AddressJudgement {
  const reserved = (what: string): AddressJudgement => ({ class: 'reserved', what });
  if (first === 0x2001 && second < 0x200) return reserved('IETF protocol assignments or Teredo (RFC 2928)');
  if (first === 0x2001 && second === 0xdb8) {
    return {
      class: 'private',
      what: 'documentation (RFC 3849): on no public route, so a private network where it answers',
    };
  }
  if (first === 0x2002) return reserved('6to4, an IPv4 address in another form (RFC 3056)');
  if (first === 0x3fff && second < 0x1000) return reserved('documentation (RFC 9637)');
  return PUBLIC;
}
