import { describe, expect, it } from 'vitest';
import { parseIp } from '../../net/ip.ts';
import { HostAddresses, hostOf, vetted } from './reach.ts';

const ips = (...texts: readonly string[]) => texts.flatMap((text) => parseIp(text) ?? []);

/** Where a registry at these addresses may lead: the addresses that are dialled, or why none is. */
function leads(registry: readonly string[], to: string, ...resolved: readonly string[]): string {
  const url = new URL(to);
  const addresses = resolved.length === 0 ? ips(hostOf(url)) : ips(...resolved);
  try {
    const fine = vetted(url, addresses, { host: 'registry.test', addresses: ips(...registry) });
    return fine.map(({ text }) => text).join(' ');
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const AT_HOME = '203.0.112.7';

describe('a registry on the internet leads', () => {
  it('to public addresses, and of several to those', () => {
    expect(leads([AT_HOME], 'https://cdn.test/', '203.0.112.9')).toBe('203.0.112.9');
    expect(leads([AT_HOME], 'https://cdn.test/', '10.0.0.1', '203.0.112.9', '127.0.0.1')).toBe('203.0.112.9');
  });

  it.each([
    ['https://169.254.169.254/latest/meta-data', 'metadata'],
    ['https://[::ffff:169.254.169.254]/', 'which is'],
    ['https://127.0.0.1/', 'loopback'],
    ['https://2130706433/', 'loopback'],
    ['https://0x7f.1/', 'loopback'],
    ['https://10.1.2.3/', 'private network'],
  ])('never to %s', (url, why) => {
    expect(leads([AT_HOME], url)).toContain(why);
  });

  it.each([
    ['127.0.0.1', 'loopback'],
    ['::1', 'loopback'],
    ['10.1.2.3', 'private network'],
    ['fd00::1', 'unique-local'],
    ['169.254.169.254', 'metadata'],
    ['198.18.0.1', 'benchmark'],
    ['0.0.0.0', 'this host'],
  ])('nor to a name of %s', (address, why) => {
    expect(leads([AT_HOME], 'https://cdn.test/', address)).toMatch(
      new RegExp(`registry.test leads to cdn.test.*${why}.*, ${address}`),
    );
  });

  it('nor to a name without an address', () => {
    expect(vetted.bind(undefined, new URL('https://cdn.test/'), [], { host: 'r', addresses: [] })).toThrow(
      'no address',
    );
  });
});

describe('a registry that stands further in leads as far', () => {
  it.each([
    ['a private one to private ones', ['10.0.0.5'], '192.168.1.1', '192.168.1.1'],
    ['a private one to no metadata', ['10.0.0.5'], '169.254.169.254', 'metadata'],
    ['a private one to no loopback', ['10.0.0.5'], '127.0.0.1', 'loopback'],
    ['one with a public address too only to public ones', ['10.0.0.5', AT_HOME], '10.0.0.6', 'private'],
    ['this machine to itself', ['127.0.0.1', '::1'], '127.0.0.2', '127.0.0.2'],
    ['this machine to no metadata', ['127.0.0.1'], '169.254.169.254', 'metadata'],
    ['a synthetic one to synthetic ones', ['198.18.0.1'], '198.18.0.2', '198.18.0.2'],
    ['one without an address only to public ones', [], '10.0.0.6', 'private'],
  ])('%s', (_, registry, address, expected) => {
    expect(leads(registry, 'https://cdn.test/', address)).toContain(expected);
  });
});

it('a name is asked for once: an answer that changes changes nothing', async () => {
  const answers = [['203.0.112.7'], ['127.0.0.1']];
  const addresses = new HostAddresses(async () => answers.shift() ?? []);
  expect(await addresses.of('cdn.test')).toEqual(ips('203.0.112.7'));
  expect(await addresses.of('cdn.test')).toEqual(ips('203.0.112.7'));
  expect(await addresses.of('10.0.0.1')).toEqual(ips('10.0.0.1'));
});
