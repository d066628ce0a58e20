import { once } from 'node:events';
import { createServer, connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect } from 'node:tls';
import type { ConnectionOptions, PeerCertificate, TLSSocket } from 'node:tls';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { NetworkRule, RequestPolicy } from '../../src/policy/contract.ts';
import { createAuthority } from '../../src/gateway/tls/authority.ts';
import type { CertificateAuthority, Terminated } from '../../src/gateway/tls/contract.ts';
import {
  certifiedKey,
  distinguishedName,
  leafCertificate,
  caCertificate,
} from '../../src/gateway/tls/certificate.ts';
import type { Issuer, Validity } from '../../src/gateway/tls/certificate.ts';
import { certificatePem } from '../../src/gateway/tls/pem.ts';
import { createTerminator } from '../../src/gateway/tls/terminate.ts';
import { passTlsGate } from '../../src/gateway/tls-gate.ts';
import type { Allowed } from '../../src/gateway/decide.ts';
import { portOf, rule } from './kit.ts';

export const REQUESTS: RequestPolicy = {
  refuse: [],
  enforcement: 'enforce',
  http2: true,
  encodedSlash: 'deny',
  websocket: 'deny',
  setHeaders: {},
  removeHeaders: [],
  stripResponseHeaders: [],
  credentials: [],
  dlp: false,
  limits: {},
};

/** A rule whose requests are read. */
export function readRule(
  host: string,
  more: Partial<RequestPolicy> = {},
  base: Partial<NetworkRule> = {},
): NetworkRule {
  return rule(host, 443, { ...base, requests: { ...REQUESTS, ...more } });
}

export function allowed(from: NetworkRule, host = from.host, kind: Allowed['kind'] = 'name'): Allowed {
  const verdict = { action: 'allow', rule: from.id, reason: 'test' } as const;
  return { action: 'allow', verdict, kind, host, port: from.ports[0] ?? 443, rule: from };
}

export const HANDSHAKE_MS = 600;
const LIMITS = { handshakeMs: HANDSHAKE_MS, lingerMs: 200, lingerBytes: 65_536 };

/** A listener that does what the gateway does for one target: gate, terminate, answer with the name it is for. */
export interface TerminatingServer {
  readonly port: number;
  readonly results: Terminated[];
  readonly clients: Set<Socket>;
  target: Allowed;
  close(): Promise<void>;
}

export async function startTerminating(
  authority: CertificateAuthority | undefined,
  target: Allowed,
  answer: (socket: TLSSocket, target: Allowed) => void = sayName,
): Promise<TerminatingServer> {
  const terminator = createTerminator({ authority, limits: LIMITS });
  const results: Terminated[] = [];
  const clients = new Set<Socket>();
  const self = { target };
  const server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: 65_536 }, (client) => {
    clients.add(client);
    client.on('error', () => client.destroy()).on('close', () => clients.delete(client));
    void serve(client, self.target);
  });
  const serve = async (client: Socket, aim: Allowed): Promise<void> => {
    const gate = await passTlsGate(client, aim, HANDSHAKE_MS);
    if (gate.state !== 'pass') return void client.destroy();
    const result = await terminator.terminate(aim, client, gate.bytes);
    results.push(result);
    if (result.state === 'ok') answer(result.socket, aim);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    for (const client of clients) client.destroy();
    server.close();
    await once(server, 'close');
  };
  return Object.assign(self, { port: portOf(server), results, clients, close });
}

/** One answer to the first bytes, in HTTP so that every client understands it. */
export function sayName(socket: TLSSocket, target: Allowed): void {
  socket.on('end', () => socket.end());
  socket.once('data', () => {
    const body = `${target.host} ${socket.alpnProtocol || 'none'}`;
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
    socket.resume();
  });
}

export interface ClientResult {
  readonly text: string;
  readonly error: string | undefined;
  readonly reused: boolean;
  readonly session: Buffer | undefined;
  readonly certificate: PeerCertificate | undefined;
  readonly alpn: string | false | null;
  readonly protocol: string | null;
}

/** A Node client that says one line and reads to the end. */
export function ask(
  options: ConnectionOptions,
  line = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
): Promise<ClientResult> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', ...options });
    let text = '';
    let error: string | undefined;
    let session: Buffer | undefined;
    let facts: Pick<ClientResult, 'reused' | 'certificate' | 'alpn' | 'protocol'> = {
      reused: false,
      certificate: undefined,
      alpn: null,
      protocol: null,
    };
    socket.on('session', (ticket) => (session = ticket));
    socket.on('error', (cause: NodeJS.ErrnoException) => (error = cause.code ?? cause.message));
    socket.on('secureConnect', () => {
      facts = {
        reused: socket.isSessionReused(),
        certificate: socket.getPeerCertificate(),
        alpn: socket.alpnProtocol,
        protocol: socket.getProtocol(),
      };
      socket.write(line);
    });
    socket.on('data', (chunk) => (text += chunk.toString('latin1')));
    socket.on('close', () => resolve({ text, error, session, ...facts }));
  });
}

/** Another world's authority, for origins: certificates of every kind, good and bad. */
export interface OriginWorld {
  readonly caPem: string;
  readonly leaf: (host: string, validity?: Partial<Validity>) => { key: string; cert: string };
}

export function originWorld(name = 'World CA', caValidity: Partial<Validity> = {}): OriginWorld {
  const ca = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const caKey = certifiedKey(ca.publicKey);
  const issuer: Issuer = {
    name: distinguishedName(name),
    keyId: caKey.keyId,
    privateKey: ca.privateKey,
  };
  const valid = (more: Partial<Validity>): Validity => ({
    notBefore: Date.now() - 60_000,
    notAfter: Date.now() + 3_600_000,
    ...more,
  });
  return {
    caPem: certificatePem(caCertificate(issuer, caKey, valid(caValidity))),
    leaf: (host, validity = {}) => {
      const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const cert = certificatePem(
        leafCertificate(issuer, certifiedKey(own.publicKey), host, valid(validity)),
      );
      return { key: pemOf(own.privateKey), cert };
    },
  };
}

/** A leaf that signs itself. */
export function selfSigned(host: string): { key: string; cert: string } {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = certifiedKey(own.publicKey);
  const issuer = { name: distinguishedName(host), keyId: key.keyId, privateKey: own.privateKey };
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
  return { key: pemOf(own.privateKey), cert: certificatePem(leafCertificate(issuer, key, host, validity)) };
}

export function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

export function newAuthority(): CertificateAuthority {
  return createAuthority({ sandbox: `sbx_${randomBytes(4).toString('hex')}` });
}

/** A TCP connection to a local port, as a dialler makes them. */
export async function dialLocal(port: number): Promise<Socket> {
  const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  socket.on('error', () => socket.destroy());
  await once(socket, 'connect');
  return socket;
}
