import { describe, expect, it } from 'vitest';
import { proxyFromEnvironment, usesProxy } from './proxy.ts';

describe('the proxy of the environment', () => {
  it.each([
    [{}, undefined],
    [{ HTTPS_PROXY: '' }, undefined],
    [{ HTTP_PROXY: 'http://a:1' }, undefined],
    [{ HTTPS_PROXY: 'http://proxy.test:3128' }, { host: 'proxy.test', port: 3128 }],
    [{ HTTPS_PROXY: 'proxy.test' }, { host: 'proxy.test', port: 80 }],
    [
      { HTTPS_PROXY: 'http://a', https_proxy: 'http://[::1]:8080/' },
      { host: '::1', port: 8080 },
    ],
    [
      { HTTPS_PROXY: 'http://us%40er:p:w@a' },
      { host: 'a', port: 80, authorization: `Basic ${Buffer.from('us@er:p:w').toString('base64')}` },
    ],
  ])('%j', (env, expected) => {
    const found = proxyFromEnvironment(env);
    expect(found).toEqual(expected === undefined ? undefined : { ...expected, direct: [] });
  });

  it.each(['https://a', 'socks5://a:1', 'http://', 'http://a:99999'])('%s is refused', (text) => {
    expect(() => proxyFromEnvironment({ HTTPS_PROXY: text })).toThrow('names no http proxy');
  });

  it('is left out by NO_PROXY, and for plain http', () => {
    const proxy = proxyFromEnvironment({
      HTTPS_PROXY: 'http://a:1',
      NO_PROXY: 'corp.test, 10.0.0.0/8 other.test:5000',
    });
    const used = (url: string): boolean => usesProxy(proxy, new URL(url));
    expect(['https://b.test', 'https://other.test', 'https://11.0.0.1'].map(used)).toEqual([
      true,
      true,
      true,
    ]);
    expect(
      ['https://corp.test', 'https://a.corp.test', 'https://10.1.1.1', 'https://other.test:5000'].map(used),
    ).toEqual([false, false, false, false]);
    expect(used('http://b.test')).toBe(false);
    expect(usesProxy(undefined, new URL('https://b.test'))).toBe(false);
  });
});
