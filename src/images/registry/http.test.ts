import { describe, expect, it } from 'vitest';
import { parseChallenge } from './auth.ts';
import { checkUrl } from './http.ts';

const outcome = (work: () => void): string => {
  try {
    work();
    return 'fine';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

describe('plain http', () => {
  it.each(['http://127.0.0.1:5000/', 'http://localhost/', 'http://[::1]:1/', 'https://example.com/'])(
    '%s is in order',
    (url) => {
      expect(outcome(() => checkUrl(new URL(url), { insecure: false }))).toBe('fine');
    },
  );

  it.each([
    'http://example.com/',
    'http://10.0.0.1/',
    'http://localhost.example.com/',
    'http://127.0.0.1.example.com/',
    'ftp://localhost/',
  ])('%s is refused', (url) => {
    expect(outcome(() => checkUrl(new URL(url), { insecure: false }))).toContain('is not encrypted');
  });

  it('--insecure allows http and nothing else', () => {
    expect(outcome(() => checkUrl(new URL('http://example.com/'), { insecure: true }))).toBe('fine');
    expect(outcome(() => checkUrl(new URL('file:///etc/passwd'), { insecure: true }))).toContain(
      'is not encrypted',
    );
  });
});

describe('challenges', () => {
  it('are read by what they ask for', () => {
    expect(parseChallenge('Bearer realm="https://auth.example.com/token",service="s",scope="x"')).toEqual({
      scheme: 'bearer',
      realm: 'https://auth.example.com/token',
      service: 's',
    });
    expect(parseChallenge('Basic realm="x"')).toEqual({ scheme: 'basic' });
    expect(parseChallenge('basic, Bearer realm="https://a/"')).toEqual({
      scheme: 'bearer',
      realm: 'https://a/',
    });
    expect(parseChallenge('Negotiate')).toBeUndefined();
    expect(parseChallenge('Bearer service="x"')).toBeUndefined();
  });

  it('of any length are read in time that grows with it', () => {
    expect(parseChallenge(`Bearer ${'a="'.repeat(100_000)}`)).toBeUndefined();
  });
});
