import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../base/version.ts';
import { importEgress } from './egress.ts';
import { translatePolicy } from './egress-policy.ts';
import { loadDocument } from './load-document.ts';

interface Row {
  readonly id: string;
  readonly layer: string;
  readonly input: { readonly op: string; readonly network?: unknown };
  readonly expect: string;
  readonly why: string;
}

const FILE = path.join(packageRoot(), 'test/gateway/fixtures/egress-cases-dev.json');
const file = JSON.parse(readFileSync(FILE, 'utf8')) as {
  readonly policies: Readonly<Record<string, unknown>>;
  readonly cases: readonly Row[];
};

const rows = file.cases.filter((row) => row.layer === 'policy-config' && row.input.op === 'config');

describe('policies of the case file', () => {
  it.each(rows.map((row) => [row.id, row.why, row] as const))('%s: %s', (_id, _why, row) => {
    const result = importEgress(row.input.network);
    expect(result.ok ? 'allow' : 'config-error', JSON.stringify(result)).toBe(row.expect);
    if (result.ok) expect(loadDocument(result.document).network.allow).toBeDefined();
    else for (const problem of result.problems) expect(problem.why ?? problem.expected ?? '').not.toBe('');
  });

  it('are fifty but for the three that need a gateway', () => {
    expect(rows).toHaveLength(47);
  });
});

const secret = (name: string): unknown =>
  name === 'AWS'
    ? { accessKeyId: 'env:AWS_ACCESS_KEY_ID', secretAccessKey: 'env:AWS_SECRET_ACCESS_KEY' }
    : `env:${name}_SECRET`;

describe('translatePolicy', () => {
  const names = Object.keys(file.policies).filter((name) => name.startsWith('P-'));
  const missing: Readonly<Record<string, readonly string[]>> = {
    'P-auth': ['listenerAuth'],
    'P-audit': ['enforcement'],
  };

  it.each(names)('%s', (name) => {
    const { document: _document, ...found } = translatePolicy(file.policies, name, secret);
    expect(found.missing).toEqual(missing[name] ?? []);
    expect(found.network.allow.length).toBeGreaterThan(0);
  });

  it('keeps what a policy says', () => {
    const pinned = translatePolicy(file.policies, 'P-pin-body', secret);
    expect(pinned.network.allow[0]).toMatchObject({
      id: 'llm',
      host: 'llm.allowed.test',
      requests: {
        allow: [
          { methods: ['POST'], path: '/v1/messages' },
          { methods: ['GET'], path: '/v1/models' },
          { methods: ['GET'], path: '/v1/stream' },
        ],
        refuse: [
          { path: '/v1/files/**' },
          { path: '/v1/files' },
          { path: '/v1/organizations/**' },
          { headers: { 'anthropic-beta': { kind: 'any' } } },
        ],
        http2: true,
        websocket: 'inspect',
        json: [
          { path: '$.mcp_servers', match: { kind: 'any' } },
          {
            path: '$.tools[*].type',
            match: { kind: 'prefix', values: ['web_fetch', 'web_search', 'code_execution'] },
          },
          { path: '$..source.type', match: { kind: 'equals', values: ['url', 'file'] } },
        ],
        pin: { credential: 'LLM', require: true },
        credentials: ['LLM'],
      },
    });
    expect(pinned.credentials).toMatchObject([
      {
        name: 'LLM',
        sources: { value: { kind: 'env', name: 'LLM_SECRET' } },
        places: [
          { kind: 'header', name: 'x-api-key' },
          { kind: 'header', name: 'authorization', scheme: 'bearer' },
        ],
        hosts: [{ host: 'llm.allowed.test', port: 443 }],
      },
    ]);
    expect(translatePolicy(file.policies, 'P-s3', secret).credentials[0]?.places).toEqual([
      { kind: 'sigv4' },
    ]);
    expect(translatePolicy(file.policies, 'P-grpc', secret).network.allow[0]?.requests).toMatchObject({
      http2: true,
      allow: [{ rpc: 'pkg.Svc/Get' }],
      limits: { bodyBytes: 4_194_304 },
    });
    expect(translatePolicy(file.policies, 'P-private', secret).network.allow[0]).toMatchObject({
      host: '10.1.2.0/24',
      private: true,
    });
    expect(translatePolicy(file.policies, 'P-dlp', secret).network.dlp).toMatchObject({
      canaries: ['${KNOWN_SECRET}', '${CANARY}'],
      everywhere: true,
    });
    expect(translatePolicy(file.policies, 'P-budget', secret).network.budget).toEqual({
      requestsPerMinute: 60,
      uploadBytes: 1_048_576,
      downloadBytes: 52_428_800,
      concurrency: 16,
      names: 100,
    });
    expect(translatePolicy(file.policies, 'P-ws-dlp', secret).network.allow[0]?.requests).toMatchObject({
      websocket: 'inspect',
      dlp: true,
    });
  });
});
