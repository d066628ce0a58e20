import { expect } from 'vitest';
import { ATTACKER, HONEST } from '../kit.ts';
import { SANDBOX_TOKEN } from './load.ts';
import type { Result } from './run.ts';

type Check = (result: Result) => void;

const text = (result: Result): string => result.reply.toString('latin1');
const upstream = (result: Result): string => Buffer.concat(result.stage.origin.received).toString('latin1');
const status =
  (code: number): Check =>
  (result) =>
    expect(text(result)).toContain(`HTTP/1.1 ${code}`);
const notUpstream =
  (word: RegExp): Check =>
  (result) =>
    expect(upstream(result)).not.toMatch(word);
const notDownstream =
  (word: RegExp): Check =>
  (result) =>
    expect(text(result)).not.toMatch(word);
const socksReplyIs =
  (code: number): Check =>
  (result) =>
    expect(result.reply.at(3)).toBe(code);
const dialsOnly =
  (address: string): Check =>
  (result) => {
    for (const entry of result.stage.bench.dialled) expect(entry.address).toBe(address);
  };
const rcodeIn =
  (...codes: number[]): Check =>
  (result) =>
    expect(codes).toContain((result.reply[3] ?? 0) & 0xf);
const oneRequest: Check = (result) =>
  expect(upstream(result).match(/^[A-Z]+ \S+ HTTP\/1\.1\r$/gm) ?? []).toHaveLength(1);

/** What a row's "assert" says beyond its verdict. */
export const ASSERTIONS: Readonly<Record<string, Check>> = {
  H03: (result) => {
    expect(result.stage.bench.asked).not.toContain('api.allowed.test.');
    for (const event of result.stage.bench.events) expect(event.host).not.toMatch(/\.$/);
  },
  R17: dialsOnly(HONEST),
  R19: dialsOnly(HONEST),
  R20: dialsOnly(HONEST),
  R30: (result) => expect(result.stage.bench.dialled.map((entry) => entry.address)).not.toContain(ATTACKER),
  R41: dialsOnly(HONEST),
  D03: rcodeIn(3, 5),
  D04: rcodeIn(0, 5),
  D05: rcodeIn(0, 5),
  D28: rcodeIn(4, 5),
  D36: (result) => expect(result.reply.includes(Buffer.from([0xfd, 0xe9]))).toBe(false),
  C25: dialsOnly(HONEST),
  C40: (result) => expect(upstream(result)).toMatch(/^GET \/ HTTP\/1\.1\r\nHost: plain\.allowed\.test\r\n/),
  C68: notUpstream(/proxy-/i),
  S24: socksReplyIs(7),
  S25: socksReplyIs(7),
  T23: status(421),
  T24: status(421),
  Q21: status(405),
  Q37: status(431),
  Q29: notUpstream(/upgrade/i),
  Q32: status(417),
  Q47: notDownstream(/evil/),
  Q49: notDownstream(/alt-svc/i),
  Q50: (result) => expect(result.stage.bench.dialled).toHaveLength(1),
  Q51: notDownstream(/\r\nset-cookie/i),
  M26: (result) => expect(upstream(result)).toMatch(/transfer-encoding: chunked\r\n/i),
  M29: notUpstream(/transfer_encoding/i),
  M42: notUpstream(/evil\.test|authorization/i),
  M45: (result) => {
    // The smuggled text stays inside a body that is delimited once, on a connection that is not used again.
    expect(upstream(result)).toMatch(
      /^GET \/v1\/repos\/x HTTP\/1\.1\r\n(?:[^\r]+\r\n)*content-length: 50\r\nconnection: close\r\n\r\n/i,
    );
  },
  M46: oneRequest,
  M52: notDownstream(/evil/),
  M53: notDownstream(/hello/),
  W06: notUpstream(/upgrade/i),
  W10: notDownstream(/101/),
  U02: (result) => {
    for (const event of result.stage.bench.events) expect(JSON.stringify(event)).not.toContain('\u001b');
  },
  U06: (result) =>
    expect(result.stage.bench.events).toEqual([
      expect.objectContaining({
        action: 'deny',
        rule: 'default.deny',
        host: 'evil.test',
        port: 443,
        entry: 'http-proxy',
      }),
    ]),
  U14: (result) =>
    expect(JSON.stringify(result.stage.bench.events) + text(result)).not.toContain(SANDBOX_TOKEN),
};
