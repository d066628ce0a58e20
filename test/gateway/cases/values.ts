import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Strings } from './expand.ts';

// The strings of the case file, made anew for every run: no secret here is one.

const BASE62 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
export const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

export function randomText(length: number, letters = BASE62): string {
  return Array.from(randomBytes(length), (byte) => letters[byte % letters.length]).join('');
}

/** What the scanner is about. */
export function fixtureStrings(): Strings {
  return {
    KNOWN_SECRET: randomText(40),
    CANARY: `canary-${randomText(20)}`,
    AWS_KEY: `AKIA${randomText(16, BASE32)}`,
    GH_TOKEN: `ghp_${randomText(36)}`,
    SLACK_TOKEN: `xoxb-${randomText(12, '0123456789')}-${randomText(13, '0123456789')}-${randomText(24)}`,
    PEM_KEY: generateKeyPairSync('ec', { namedCurve: 'P-256' })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString(),
    JWT: signedJwt(),
    SHA512_B64: randomBytes(64).toString('base64'),
    PNG_B64:
      'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    MINJS: readFileSync(
      new URL('../../../node_modules/re2js/build/index.umd.js', import.meta.url),
      'latin1',
    ).slice(0, 20_000),
  };
}

export function signedJwt(): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: randomText(8), exp: 4_000_000_000 })}`;
  return `${head}.${createHmac('sha256', randomBytes(32)).update(head).digest('base64url')}`;
}

/** Addresses and tokens of the bench, and a correct answer to the key of RFC 6455. */
export function benchStrings(): Strings {
  return {
    GATEWAY_IP: '127.0.0.1',
    HOST_IFACE_IP: '203.0.114.5',
    ADMIN_PORT: '9999',
    OTHER_SANDBOX_IP: '10.77.0.2',
    SANDBOX_TOKEN: 'sandbox-token-7f3a',
    OTHER_SANDBOX_TOKEN: 'sandbox-token-91bc',
    ATTACKER_KEY: `sk-ant-api03-${randomText(90)}AA`,
    WS_101:
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
  };
}

/** A secret of the shape that a credential's name suggests. */
export function secretFor(name: string): string {
  if (name === 'LLM') return `sk-ant-api03-${randomText(90)}AA`;
  if (name === 'GH') return `ghp_${randomText(36)}`;
  return randomText(40);
}
