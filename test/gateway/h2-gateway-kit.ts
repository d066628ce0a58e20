import { once } from 'node:events';
import { connect as connectH2 } from 'node:http2';
import type { ClientHttp2Session, OutgoingHttpHeaders } from 'node:http2';
import { connect } from 'node:net';
import { connect as connectTls, createSecureContext } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { RequestRecord } from '../../src/gateway/contract.ts';
import type { CertificateAuthority, RootStore } from '../../src/gateway/tls/contract.ts';
import type { NetworkRule } from '../../src/policy/contract.ts';
import { HONEST, policy, startBench, until } from './kit.ts';
import type { Bench, BenchOptions } from './kit.ts';
import { readReply } from './h2-kit.ts';
import type { Reply } from './h2-kit.ts';

/** A whole gateway whose origins are signed by `world` and whose sandbox trusts `sandbox`. */
export interface WholeGateway {
  readonly bench: Bench;
  readonly requests: RequestRecord[];
}

export async function startWhole(
  authorities: { readonly sandbox: CertificateAuthority; readonly world: CertificateAuthority },
  rules: readonly NetworkRule[],
  origin: number,
  more: Partial<BenchOptions> = {},
): Promise<WholeGateway> {
  const requests: RequestRecord[] = [];
  const roots: RootStore = {
    hostBundle: () => Promise.resolve(authorities.world.pem),
    contextFor: () => Promise.resolve(createSecureContext({ ca: authorities.world.pem })),
  };
  const bench = await startBench({
    policy: policy(rules),
    answers: Object.fromEntries(rules.map((rule) => [rule.host, [HONEST]])),
    origin,
    authority: authorities.sandbox,
    roots,
    onRequest: (record) => requests.push(record),
    ...more,
  });
  return { bench, requests };
}

/** TLS to a host through the proxy's CONNECT. */
export async function tunnelTls(
  bench: Bench,
  sandbox: CertificateAuthority,
  host: string,
  alpn: readonly string[] = ['h2'],
): Promise<TLSSocket> {
  const socket = connect({ port: bench.proxy, host: '127.0.0.1', noDelay: true });
  socket.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`);
  const [head] = await once(socket, 'data');
  if (!String(head).startsWith('HTTP/1.1 200')) throw new Error(`CONNECT: ${String(head)}`);
  const tls = connectTls({ socket, servername: host, ca: sandbox.pem, ALPNProtocols: [...alpn] });
  tls.on('error', () => undefined);
  await once(tls, 'secureConnect');
  return tls;
}

/** Node's HTTP/2 client through the gateway. */
export async function h2Through(
  bench: Bench,
  sandbox: CertificateAuthority,
  host: string,
): Promise<ClientHttp2Session> {
  const socket = await tunnelTls(bench, sandbox, host);
  const session = connectH2(`https://${host}`, { createConnection: () => socket });
  session.on('error', () => undefined);
  return session;
}

/** One request, body and all. */
export async function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string | Buffer,
): Promise<Reply> {
  const stream = session.request(headers, { endStream: body === undefined });
  const reply = readReply(stream);
  if (body !== undefined) stream.end(body);
  return reply;
}

/** Waits until nothing of the gateway is left open towards an origin's sessions. */
export async function quiet(what: string, condition: () => boolean): Promise<void> {
  await until(what, condition, 10_000);
}
