import { once } from 'node:events';
import { createServer } from 'node:net';
import { createSecureContext } from 'node:tls';
import { createScanner } from '../../src/content/dlp/scanner.ts';
import type { ContentScanner, Gateway } from '../../src/gateway/contract.ts';
import { netDialler } from '../../src/gateway/dial.ts';
import { createGateway } from '../../src/gateway/gateway.ts';
import { createAuthority } from '../../src/gateway/tls/authority.ts';
import type { CertificateAuthority, RootStore } from '../../src/gateway/tls/contract.ts';
import type { CredentialPolicy, NetworkRule, RequestPolicy } from '../../src/policy/contract.ts';
import { createBroker } from '../../src/secrets/broker.ts';
import type { Broker } from '../../src/secrets/contract.ts';

/** Ports as policies name them; the origin's real ones are elsewhere. */
export const HTTP1_PORT = 443;
export const HTTP2_PORT = 8443;
export const WILD = '*.origin.test';
const host = (name: string): string => `${name}.origin.test`;

/** What each host's rule asks of the gateway. All but `opaque` have methods, paths and a pin. */
export const HOSTS = {
  opaque: host('opaque'),
  read: host('read'),
  scrub: host('scrub'),
  dlp: host('dlp'),
  both: host('both'),
} as const;

/** The value that the sandbox would send instead of the secret, by host. */
export type Placeholders = Readonly<Record<string, string>>;

const ORIGIN = { layer: 'user' } as const;
const MIB = 1024 * 1024;

export interface InspectedParts {
  readonly ca: string;
  readonly roots: RootStore;
  /** Real ports of the origin. */
  readonly h1: number;
  readonly h2: number;
}

/** A gateway as a sandbox has it: CA, broker and scanner of its own, listening as the HTTP proxy of its programs. */
export interface Inspected {
  readonly gateway: Gateway;
  readonly port: number;
  readonly authority: CertificateAuthority;
  readonly placeholders: Placeholders;
}

export function rootsFor(ca: string): RootStore {
  const context = createSecureContext({ ca });
  return { hostBundle: () => Promise.resolve(ca), contextFor: () => Promise.resolve(context) };
}

export async function startInspected(parts: InspectedParts, sandbox = 'bench'): Promise<Inspected> {
  const broker = await brokerFor(sandbox);
  const authority = createAuthority({ sandbox });
  const ports: Readonly<Record<number, number>> = { [HTTP1_PORT]: parts.h1, [HTTP2_PORT]: parts.h2 };
  const gateway = createGateway({
    policy: { allow: rules(), deny: [], budget: {} },
    authority,
    broker,
    scanner: scannerFor(broker),
    roots: parts.roots,
    onEvent: () => undefined,
    onConnection: () => undefined,
    onRequest: () => undefined,
    resolver: { resolve: () => Promise.resolve(['93.184.216.34']) },
    dialler: { dial: (_address, port, signal) => netDialler.dial('127.0.0.1', ports[port] ?? 0, signal) },
  });
  const env = broker.environment();
  const placeholders = Object.fromEntries(
    Object.values(HOSTS).map((name) => [name, env[isScrubbed(name) ? 'SCRUBBED_KEY' : 'PLAIN_KEY'] ?? '']),
  );
  return { gateway, port: await listen(gateway), authority, placeholders };
}

const isScrubbed = (name: string): boolean => name === HOSTS.scrub || name === HOSTS.both;

function rules(): NetworkRule[] {
  return Object.values(HOSTS).map((name) => ({
    id: name,
    host: name,
    ports: [HTTP1_PORT, HTTP2_PORT],
    protocol: 'https',
    private: false,
    allowNoSni: false,
    origin: ORIGIN,
    ...(name === HOSTS.opaque ? {} : { requests: requestsFor(name) }),
  }));
}

function requestsFor(name: string): RequestPolicy {
  const credential = isScrubbed(name) ? 'SCRUBBED' : 'PLAIN';
  return {
    allow: [
      { methods: ['GET'], path: '/v1/**' },
      { methods: ['POST'], path: '/v1/messages' },
    ],
    refuse: [{ methods: ['GET'], path: '/v1/files/**' }],
    enforcement: 'enforce',
    http2: true,
    encodedSlash: 'deny',
    websocket: 'inspect',
    setHeaders: {},
    removeHeaders: [],
    stripResponseHeaders: [],
    pin: { credential, require: true },
    credentials: [credential],
    dlp: name === HOSTS.dlp || name === HOSTS.both,
    limits: {},
  };
}

function brokerFor(sandbox: string): Promise<Broker> {
  const credential = (name: string, scrub: boolean, hosts: readonly string[]): CredentialPolicy => ({
    name,
    sources: { value: { kind: 'env', name } },
    places: [{ kind: 'header', name: 'authorization', scheme: 'bearer' }],
    hosts: hosts.flatMap((one) => [HTTP1_PORT, HTTP2_PORT].map((port) => ({ host: one, port }))),
    scrub,
    expose: { env: { [`${name}_KEY`]: 'value' }, files: [] },
    origin: ORIGIN,
  });
  return createBroker({
    sandbox,
    credentials: [
      credential('PLAIN', false, [HOSTS.read, HOSTS.dlp]),
      credential('SCRUBBED', true, [HOSTS.scrub, HOSTS.both]),
    ],
    hostEnv: { PLAIN: 'bench-0123456789abcdef-plain', SCRUBBED: 'bench-fedcba9876543210-scrubbed' },
    configDir: '/nonexistent/config',
    stateDir: '/nonexistent/state',
  });
}

function scannerFor(broker: Broker): ContentScanner {
  return createScanner({
    policy: {
      action: 'deny',
      patterns: true,
      custom: [],
      canaries: ['canary-9f27c1d0'],
      decodeDepth: 2,
      maxInspectBytes: 10 * MIB,
      uninspectable: 'deny',
      names: true,
      everywhere: false,
    },
    secrets: () => broker.knownSecrets(),
    placeholders: () => broker.placeholders(),
    secretsVersion: () => 0,
  });
}

async function listen(gateway: Gateway): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  gateway.attach({ id: 0, transport: 'tcp', port, role: 'http-proxy' }, server);
  return port;
}
