import type { Socket } from 'node:net';
import { CONNECT_HEAD_MAX, looksLikeConnect, readConnectHead } from '../net/connect-head.ts';
import type { ConnectHeadResult } from '../net/connect-head.ts';
import type { Verdict } from './contract.ts';
import { recordDeny } from './core.ts';
import type { GatewayCore } from './core.ts';
import { problemBytes, problemOf, statusOf } from './problem.ts';
import { failurePage, route } from './route.ts';
import type { Entrance } from './route.ts';
import { readFirst, reset, sayAndClose } from './wire.ts';

type Head = Exclude<ConnectHeadResult, { state: 'more' }> | { readonly state: 'plain' };

/** The proxy port: CONNECT, or requests in absolute-form, told apart by the first word. */
export async function serveHttpProxy(core: GatewayCore, client: Socket): Promise<void> {
  const first = await readFirst<Head>(
    client,
    (bytes) => {
      if (!looksLikeConnect(bytes)) return { state: 'done', value: { state: 'plain' } };
      const head = readConnectHead(bytes);
      return head.state === 'more' ? head : { state: 'done', value: head };
    },
    { timeoutMs: core.limits.handshakeMs, maxBytes: CONNECT_HEAD_MAX },
  );
  if (first.state === 'gone') return reset(client);
  if (first.state !== 'done') return refuseHead(core, client, 'it was not finished in time', 400);
  const head = first.value;
  if (head.state === 'bad') return refuseHead(core, client, head.why, head.status);
  if (head.state === 'plain') {
    client.unshift(first.bytes);
    const http = await core.http();
    return http.serve(client, { kind: 'proxy', entry: 'http-proxy' });
  }
  if (head.used < first.bytes.length) client.unshift(first.bytes.subarray(head.used));
  await route(core, client, core.judge.decide(head.host.host, head.port), entranceOf(core, client));
}

function entranceOf(core: GatewayCore, client: Socket): Entrance {
  return {
    entry: 'http-proxy',
    accept: () => void client.write('HTTP/1.1 200 Connection Established\r\n\r\n'),
    refuse: (verdict) =>
      sayAndClose(client, problemBytes(problemOf(statusOf(verdict), verdict)), core.limits),
    fail: (why) => sayAndClose(client, failurePage(why), core.limits),
  };
}

function refuseHead(core: GatewayCore, client: Socket, why: string, status: number): void {
  const verdict: Verdict = {
    action: 'deny',
    rule: 'structural.malformed',
    reason: `a CONNECT request is refused: ${why}`,
  };
  recordDeny(core, { entry: 'http-proxy', host: '(none)', port: 0 }, verdict);
  sayAndClose(client, problemBytes(problemOf(status, verdict)), core.limits);
}
