import type { Socket } from 'node:net';
import { readSocksGreeting, readSocksRequest, SOCKS_REPLY, socksReply } from '../net/socks5.ts';
import type { SocksReply, SocksStep } from '../net/socks5.ts';
import type { Verdict } from './contract.ts';
import { recordDeny } from './core.ts';
import type { GatewayCore } from './core.ts';
import { route } from './route.ts';
import type { Entrance } from './route.ts';
import { readFirst, reset, sayAndClose } from './wire.ts';

/** A greeting has at most 257 bytes, a request 262; more before an answer is pipelined payload (RFC 1928). */
const FIRST_BYTES_MAX = 64 * 1024;
const NO_METHOD = Uint8Array.of(5, 0xff);
const METHOD_NONE = Uint8Array.of(5, 0);

/** SOCKS5 without authentication: the listener is the identity. Bytes behind the request stay in order for the tunnel. */
export async function serveSocks(core: GatewayCore, client: Socket): Promise<void> {
  const deadline = Date.now() + core.limits.handshakeMs;
  const greeting = await nextStep(client, readSocksGreeting, deadline);
  if (greeting?.state !== 'greeting') return refuseMalformed(core, client, greeting);
  if (!greeting.noAuth) {
    return refuseMalformed(
      core,
      client,
      { state: 'bad', why: 'only authentication methods that are not offered' },
      NO_METHOD,
    );
  }
  client.write(METHOD_NONE);
  const request = await nextStep(client, readSocksRequest, deadline);
  if (request?.state !== 'request') return refuseMalformed(core, client, request);
  await route(core, client, core.judge.decide(request.host, request.port), entranceOf(core, client));
}

/** Reads one step and gives what lies behind it back to the socket. Undefined: the client was late, left, or sent too much. */
async function nextStep(
  client: Socket,
  read: (bytes: Uint8Array) => SocksStep,
  deadline: number,
): Promise<Exclude<SocksStep, { state: 'more' }> | undefined> {
  const first = await readFirst(
    client,
    (bytes) => {
      const step = read(bytes);
      return step.state === 'more' ? step : { state: 'done', value: step };
    },
    { timeoutMs: Math.max(0, deadline - Date.now()), maxBytes: FIRST_BYTES_MAX },
  );
  if (first.state !== 'done') return undefined;
  const used = 'used' in first.value ? first.value.used : first.bytes.length;
  if (used < first.bytes.length) client.unshift(first.bytes.subarray(used));
  return first.value;
}

function entranceOf(core: GatewayCore, client: Socket): Entrance {
  const say = (reply: SocksReply): void => sayAndClose(client, socksReply(reply), core.limits);
  return {
    entry: 'socks',
    accept: () => void client.write(socksReply(SOCKS_REPLY.ok)),
    refuse: () => say(SOCKS_REPLY.notAllowed),
    fail: () => say(SOCKS_REPLY.hostUnreachable),
  };
}

function refuseMalformed(
  core: GatewayCore,
  client: Socket,
  step: SocksStep | undefined,
  word?: Uint8Array,
): void {
  const bad = step?.state === 'bad' ? step : undefined;
  const verdict: Verdict = {
    action: 'deny',
    rule: 'structural.malformed',
    reason: `a SOCKS handshake is refused: ${bad?.why ?? 'it was not finished in time'}`,
  };
  // A client that connects and leaves, as port checks do, made no attempt worth a record.
  if (bad !== undefined || !client.readableEnded)
    recordDeny(core, { entry: 'socks', host: '(none)', port: 0 }, verdict);
  const last = word ?? (bad?.reply === undefined ? undefined : socksReply(bad.reply));
  if (last === undefined) return reset(client);
  sayAndClose(client, last, core.limits);
}
