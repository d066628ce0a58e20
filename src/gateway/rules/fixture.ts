import type { NetworkRule, RequestMatch, RequestPolicy } from '../../policy/contract.ts';
import type { RequestFacts } from './contract.ts';

/** A rule for `api.allowed.test` with these parts; for tests. */
export function ruleWith(requests: Partial<RequestPolicy>): NetworkRule {
  return {
    id: 'api',
    host: 'api.allowed.test',
    ports: [443],
    protocol: 'https',
    private: false,
    allowNoSni: false,
    origin: { layer: 'user', position: { file: '/etc/p.yaml', line: 7, column: 3 } },
    requests: {
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
      ...requests,
    },
  };
}

/** A request line such as `GET /v1/x` with headers; a body when `Content-Length` says so. */
export function facts(
  line: string,
  headers: readonly string[] = [],
  more: Partial<RequestFacts> = {},
): RequestFacts {
  const at = line.indexOf(' ');
  return {
    http: '1.1',
    method: line.slice(0, at),
    target: line.slice(at + 1),
    headers: ['Host', 'api.allowed.test', ...headers],
    websocket: false,
    hasBody: headers.some((name, i) => i % 2 === 0 && name === 'Content-Length'),
    ...more,
  };
}

const FILES: readonly RequestMatch[] = [{ path: '/v1/files/**' }, { path: '/v1/files' }];

/** The policies that the case rows name. */
export const POLICIES = {
  'P-path': ruleWith({
    allow: [
      { methods: ['GET', 'HEAD'], path: '/v1/repos/**' },
      { methods: ['POST'], path: '/v1/messages' },
    ],
    refuse: FILES,
  }),
  'P-denypath': ruleWith({ allow: [{ methods: ['GET'], path: '/**' }], refuse: FILES }),
  'P-star': ruleWith({ allow: [{ methods: ['GET'], path: '/v1/orgs/*' }] }),
  'P-encslash': ruleWith({
    allow: [{ methods: ['GET', 'HEAD'], path: '/v1/repos/**' }],
    refuse: FILES,
    encodedSlash: 'allow',
  }),
  'P-mitm': ruleWith({}),
  'P-methods': ruleWith({ allow: [{ methods: ['GET', 'DELETE'] }] }),
  'P-query': ruleWith({
    allow: [{ methods: ['GET'], path: '/v1/repos/**', query: { ref: { kind: 'exact', value: 'main' } } }],
  }),
  'P-nourl': ruleWith({
    allow: [{ methods: ['GET'], path: '/v1/repos/**' }],
    refuse: [{ query: { url: { kind: 'any' } } }],
  }),
  'P-headers': ruleWith({
    allow: [{ methods: ['GET', 'HEAD'], path: '/v1/repos/**' }],
    requestHeaders: ['accept', 'content-type', 'user-agent'],
  }),
  'P-ws': ruleWith({ allow: [{ methods: ['GET'], path: '/v1/stream' }], websocket: 'allow' }),
  'P-grpc': ruleWith({ allow: [{ rpc: 'pkg.Svc/Get' }] }),
  'P-pin': ruleWith({
    allow: [
      { methods: ['POST'], path: '/v1/messages' },
      { methods: ['GET'], path: '/v1/models' },
    ],
    refuse: [...FILES, { path: '/v1/organizations/**' }, { headers: { 'anthropic-beta': { kind: 'any' } } }],
    json: [
      { path: '$.mcp_servers', match: { kind: 'any' } },
      {
        path: '$.tools[*].type',
        match: { kind: 'prefix', values: ['web_fetch', 'web_search', 'code_execution'] },
      },
      { path: '$..source.type', match: { kind: 'equals', values: ['url', 'file'] } },
    ],
  }),
} as const satisfies Readonly<Record<string, NetworkRule>>;
