import type { CredentialPlace, CredentialPolicy, NetworkRule, Origin, PinRule } from '../policy/contract.ts';
import { createBroker } from './broker.ts';
import type { Broker, BrokerOptions, OutgoingRequest } from './contract.ts';

// What the tests of this room share. No secret here is one.

const ORIGIN: Origin = { layer: 'user', position: { file: 'policy.yaml', line: 7, column: 3 } };

/** Values of the test credentials. */
export const SECRETS = {
  LLM: 'sk-ant-api03-realREALrealREALrealREALrealREALrealREAL-llm_AA',
  GH: 'ghp_0123456789abcdefghijABCDEFGHIJ012345',
  ATTACKER: 'sk-ant-api03-evilEVILevilEVILevilEVILevilEVILevilEVIL-llm_AA',
  AWS_ID: 'AKIAREALREALREALREAL',
  AWS_SECRET: 'realSecretKey/realSecretKey+realSecretKey',
} as const;

export const bearer: CredentialPlace = { kind: 'header', name: 'authorization', scheme: 'bearer' };
export const basic: CredentialPlace = { kind: 'header', name: 'authorization', scheme: 'basic' };
export const apiKey: CredentialPlace = { kind: 'header', name: 'x-api-key' };

export function credential(name: string, facts: Partial<CredentialPolicy> = {}): CredentialPolicy {
  return {
    name,
    sources: { value: { kind: 'env', name } },
    places: [bearer],
    hosts: [{ host: 'git.allowed.test', port: 443 }],
    scrub: true,
    expose: { env: { [name]: 'value' }, files: [] },
    origin: ORIGIN,
    ...facts,
  };
}

export const GH = credential('GH', { places: [bearer, basic], paths: ['/org/**'] });
export const LLM = credential('LLM', {
  places: [apiKey, bearer],
  hosts: [{ host: 'llm.allowed.test', port: 443 }],
});
export const AWS = credential('AWS', {
  sources: {
    accessKeyId: { kind: 'env', name: 'AWS_ID' },
    secretAccessKey: { kind: 'env', name: 'AWS_SECRET' },
  },
  places: [{ kind: 'sigv4' }],
  hosts: [{ host: 's3.allowed.test', port: 443 }],
  expose: { env: { AWS_ACCESS_KEY_ID: 'accessKeyId', AWS_SECRET_ACCESS_KEY: 'secretAccessKey' }, files: [] },
});

export function rule(
  host: string,
  facts: { credentials?: readonly string[]; pin?: PinRule } = {},
): NetworkRule {
  const { credentials = [], pin } = facts;
  return {
    id: 'network.allow[0]',
    host,
    ports: [443],
    protocol: 'https',
    private: false,
    allowNoSni: false,
    requests: {
      refuse: [],
      enforcement: 'enforce',
      http2: true,
      encodedSlash: 'deny',
      websocket: 'allow',
      setHeaders: {},
      removeHeaders: [],
      stripResponseHeaders: [],
      credentials,
      ...(pin === undefined ? {} : { pin }),
      dlp: false,
      limits: {},
    },
    origin: ORIGIN,
  };
}

export const RULES = {
  'llm.allowed.test': rule('llm.allowed.test', {
    credentials: ['LLM'],
    pin: { credential: 'LLM', require: true, places: [apiKey, bearer] },
  }),
  'git.allowed.test': rule('git.allowed.test', {
    credentials: ['GH'],
    pin: { credential: 'GH', require: false, places: [bearer, basic] },
  }),
  's3.allowed.test': rule('s3.allowed.test', {
    credentials: ['AWS'],
    pin: { credential: 'AWS', require: true, places: [{ kind: 'sigv4' }] },
  }),
  'api.allowed.test': rule('api.allowed.test'),
} as const;

/** Host variables that the test credentials come from; a test may change them. */
export function hostEnv(): Record<string, string> {
  return { ...SECRETS };
}

export function testBroker(facts: Partial<BrokerOptions> = {}): Promise<Broker> {
  return createBroker({
    sandbox: 'test',
    credentials: [GH, LLM, AWS],
    hostEnv: hostEnv(),
    configDir: '/nonexistent/config',
    stateDir: '/nonexistent/state',
    ...facts,
  });
}

/** The placeholder of a credential's field. */
export function placeholder(broker: Broker, name: string, field = 'value'): string {
  for (const entry of broker.placeholders())
    if (entry.name === name && entry.field === field) return entry.text;
  throw new Error(`no placeholder of ${name}`);
}

/** A request as the gateway would hand it over, read from raw HTTP/1.1 text (bytes as latin1). */
export function rawRequest(raw: string, facts: Partial<OutgoingRequest> = {}): OutgoingRequest {
  const end = raw.indexOf('\r\n\r\n');
  const [start = '', ...lines] = (end === -1 ? raw : raw.slice(0, end)).split('\r\n');
  const [method = '', target = ''] = start.split(' ');
  const headers = lines.flatMap((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const host = headers[headers.findIndex((name) => name.toLowerCase() === 'host') + 1] ?? '';
  const [name = '', port = '443'] = host.split(':');
  const body = end === -1 ? '' : raw.slice(end + 4);
  return {
    rule: Object.entries(RULES).find(([known]) => known === name)?.[1] ?? rule(name),
    host: name,
    port: Number(port),
    secure: true,
    method,
    target,
    path: target.split('?')[0] ?? '',
    headers,
    websocket: false,
    ...(body === '' ? {} : { body: Buffer.from(body, 'latin1') }),
    ...facts,
  };
}

/** A request from its parts. */
export function request(
  host: string,
  target: string,
  headers: Readonly<Record<string, string>> = {},
  facts: Partial<OutgoingRequest> = {},
): OutgoingRequest {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return rawRequest([`GET ${target} HTTP/1.1`, `Host: ${host}`, ...lines, '', ''].join('\r\n'), facts);
}
