import { describe, expect, it } from 'vitest';
import { caught, PolicyFixture } from './fixture.ts';
import { loadDocument } from './import/load-document.ts';
import { parsePolicyFile } from './parse.ts';
import { formatProblem } from './problems.ts';
import { checkDocument, isProblems } from './schema-errors.ts';
import { explainPolicy } from './explain.ts';
import { resolvePolicy } from './resolve.ts';
import { parse } from 'yaml';

function problems(text: string): readonly string[] {
  const result = checkDocument(parsePolicyFile('p.yaml', Buffer.from(text)));
  return isProblems(result) ? result.map((one) => formatProblem(one).replace(/^p\.yaml:\d+:\d+: /, '')) : [];
}

const load = (yaml: string): ReturnType<typeof loadDocument> =>
  loadDocument(parse(`version: 1\n${yaml}`) as object);

const RICH = `
network:
  allow:
    - id: llm
      host: api.anthropic.com
      preset: llm-api
      requests: [{ methods: [GET], path: /v1/usage, query: { day: any, q: { prefix: a } }, headers: { X-Mode: { regex: "^a+$" } } }]
      refuse: [{ query: { url: any } }, { header: { X-Beta: any } }]
      pin: { credential: anthropic, require: false, places: ["header:X-Api-Key", "header:authorization:Bearer"] }
      requestHeaders: [Accept]
      setHeaders: { X-Org: one }
      stripResponseHeaders: [Set-Cookie]
      json: [{ path: $.metadata }, { path: "$.tools[*].name", equals: rm }]
      websocket: inspect
      dlp: true
      limits: { requestsPerMinute: 60, concurrency: 4, body: 1MiB, time: 10m }
      budget: { requests: 5, requestsPerMinute: 9, concurrency: 2 }
    - { id: mcp, host: mcp.example.com, mcp: { tools: [search, "get_*"], methods: [tools/list] }, mode: observe }
    - { id: gql, host: gql.example.com, graphql: { fields: [viewer] }, encodedSlash: allow }
    - { id: grpc, host: rpc.example.com, requests: [{ rpc: pkg.Svc/Get }] }
    - { id: ssh, host: git.example.com, protocol: ssh, hostKeys: ["SHA256:${'A'.repeat(43)}="], keys: [work] }
    - { id: lan, host: 10.1.2.0/24, ports: [8080], protocol: tcp, private: true }
    - { id: tls, host: plain.example.com, tls: inspect }
    - { id: opaque, host: opaque.example.com }
  overBudget: pause
  dlp: { custom: [{ name: ticket, pattern: "T-[0-9]+" }], canaries: [canary-0123456789], maxInspect: 1MiB, everywhere: false }
  parentProxy: { url: "http://proxy.example.com:3128/", noProxy: [.internal, 10.0.0.0/8, "localhost:80", "*"], credential: proxy }
  ask: { timeout: 1m, pending: 2 }
  trust: [/etc/ssl/corp.pem, ~/ca.pem]
credentials:
  anthropic: { from: env:ANTHROPIC_API_KEY, header: X-Api-Key, bearer: true, prefix: sk-ant-, paths: [/v1/**], refresh: 50m }
  aws: { from: { accessKeyId: env:AWS_ACCESS_KEY_ID, secretAccessKey: { command: [pass, show, aws] } }, hosts: [s3.example.com], expose: { env: { KEY: accessKeyId }, files: [~/.aws/credentials] }, scrub: false }
  proxy: { from: file:~/proxy.txt, basic: true }
`;

describe('the network language', () => {
  it('says all of it, and a resolved policy holds it', () => {
    const { network, credentials } = load(RICH);
    const byId = Object.fromEntries(network.allow.map((rule) => [rule.id, rule]));
    expect(byId['llm']?.requests).toMatchObject({
      enforcement: 'enforce',
      http2: false,
      encodedSlash: 'deny',
      websocket: 'inspect',
      requestHeaders: ['accept', 'x-api-key', 'authorization'],
      setHeaders: { 'x-org': 'one' },
      removeHeaders: [],
      stripResponseHeaders: ['set-cookie'],
      pin: {
        credential: 'anthropic',
        require: false,
        places: [
          { kind: 'header', name: 'x-api-key' },
          { kind: 'header', name: 'authorization', scheme: 'bearer' },
        ],
      },
      credentials: ['anthropic'],
      dlp: true,
      limits: { requestsPerMinute: 60, concurrency: 4, bodyBytes: 2 ** 20, requestMs: 600_000 },
    });
    expect(byId['llm']?.requests?.allow).toContainEqual({
      methods: ['GET'],
      path: '/v1/usage',
      query: { day: { kind: 'any' }, q: { kind: 'prefix', value: 'a' } },
      headers: { 'x-mode': { kind: 'regex', pattern: '^a+$' } },
    });
    expect(byId['llm']?.requests?.refuse.slice(-2)).toEqual([
      { query: { url: { kind: 'any' } } },
      { headers: { 'x-beta': { kind: 'any' } } },
    ]);
    expect(byId['llm']?.requests?.json?.slice(-2)).toEqual([
      { path: '$.metadata', match: { kind: 'any' } },
      { path: '$.tools[*].name', match: { kind: 'equals', values: ['rm'] } },
    ]);
    expect(byId['llm']?.budget).toEqual({ requests: 5, requestsPerMinute: 9, concurrency: 2 });
    expect(byId['mcp']?.requests).toMatchObject({
      enforcement: 'observe',
      mcp: { tools: ['search', 'get_*'], methods: ['tools/list'] },
    });
    expect(byId['gql']?.requests).toMatchObject({
      graphql: { types: ['query'], fields: ['viewer'] },
      encodedSlash: 'allow',
    });
    expect(byId['grpc']?.requests).toMatchObject({ http2: true, allow: [{ rpc: 'pkg.Svc/Get' }] });
    expect(byId['ssh']).toMatchObject({
      ports: [22],
      protocol: 'ssh',
      ssh: { hostKeys: [`SHA256:${'A'.repeat(43)}`], keys: ['work'] },
    });
    expect(byId['lan']).toMatchObject({ host: '10.1.2.0/24', private: true });
    expect(byId['tls']?.requests).toMatchObject({ refuse: [], credentials: [] });
    expect(byId['opaque']).not.toHaveProperty('requests');
    expect(network).toMatchObject({
      overBudget: 'pause',
      dlp: {
        action: 'deny',
        decodeDepth: 2,
        maxInspectBytes: 2 ** 20,
        everywhere: false,
        uninspectable: 'deny',
      },
      parentProxy: { url: 'http://proxy.example.com:3128', credential: 'proxy' },
      ask: { timeoutMs: 60_000, pending: 2 },
      trust: ['/etc/ssl/corp.pem', '/home/user/ca.pem'],
    });
    expect(credentials).toMatchObject([
      {
        name: 'anthropic',
        sources: { value: { kind: 'env', name: 'ANTHROPIC_API_KEY' } },
        hosts: [{ host: 'api.anthropic.com', port: 443 }],
        paths: ['/v1/**'],
        scrub: true,
        expose: { env: { ANTHROPIC_API_KEY: 'value' }, files: [] },
        prefix: 'sk-ant-',
        refreshMs: 3_000_000,
      },
      {
        name: 'aws',
        sources: {
          accessKeyId: { kind: 'env', name: 'AWS_ACCESS_KEY_ID' },
          secretAccessKey: { kind: 'command', argv: ['pass', 'show', 'aws'] },
        },
        places: [{ kind: 'sigv4' }],
        scrub: false,
        expose: { env: { KEY: 'accessKeyId' }, files: ['/home/user/.aws/credentials'] },
      },
      { name: 'proxy', sources: { value: { kind: 'file', path: '/home/user/proxy.txt' } }, hosts: [] },
    ]);
    expect(JSON.parse(JSON.stringify(network))).toEqual(network);
  });

  it.each([
    [
      '{ host: a.com, methods: [TRACE] }',
      'methods[0]: found "TRACE", expected another method: TRACE never passes',
    ],
    [
      '{ host: a.com, paths: [/a/../b] }',
      'paths[0]: found "/a/../b", expected a path that begins with "/" and has no "%" escapes: a path pattern has no "." or ".." segment',
    ],
    [
      '{ host: a.com, paths: ["/a?b=c"] }',
      'paths[0]: found "/a?b=c", expected a path that begins with "/" and has no "%" escapes: it holds a query; write query: { NAME: VALUE } in `requests`',
    ],
    [
      '{ host: a.com, paths: [/a**] }',
      'paths[0]: found "/a**", expected a path that begins with "/" and has no "%" escapes: "**" stands alone between slashes',
    ],
    [
      '{ host: a.com, requests: [{}] }',
      'requests[0]: found a mapping, expected at least one of methods, path, rpc, query and headers',
    ],
    ['{ host: a.com, requests: [] }', 'requests: found an empty list, expected at least one request'],
    [
      '{ host: a.com, requests: [{ rpc: p.S/M, path: /x }] }',
      'requests[0]: found a mapping, expected rpc without methods and path: it stands for both',
    ],
    [
      '{ host: a.com, requests: [{ query: { q: { regexp: a } } }] }',
      'requests[0].query.q.regexp: there is no such key (did you mean regex?)',
    ],
    [
      '{ host: a.com, requests: [{ headers: { x: { regex: "(?=a)" } } }] }',
      'requests[0].headers.x.regex: found "(?=a)", expected a pattern in RE2 syntax (no lookaround, no back references): lookahead and lookbehind are not in RE2, the syntax of policies: they cannot be matched in linear time',
    ],
    [
      '{ host: a.com, json: [{ path: tools }] }',
      'json[0].path: found "tools", expected a place such as $.a.b, $.a[*].b or $..b',
    ],
    [
      '{ host: a.com, setHeaders: { Authorization: Bearer x } }',
      'setHeaders.Authorization: found text, expected another header: a secret does not stand in a policy: define a credential',
    ],
    [
      '{ host: a.com, setHeaders: { x: "a\\r\\nb" } }',
      'setHeaders.x: found text, expected printable ASCII without line breaks',
    ],
    [
      '{ host: a.com, preset: llm }',
      'preset: found "llm", expected one of llm-api, package-registry, git-read',
    ],
    [
      '{ host: a.com, protocol: ssh }',
      'protocol: found "ssh", expected hostKeys beside protocol ssh: without them anybody on the way could answer',
    ],
    [
      '{ host: a.com, protocol: ssh, hostKeys: ["SHA256:x"] }',
      'hostKeys[0]: found "SHA256:x", expected a fingerprint such as SHA256:…, as `ssh-keygen -l` prints it',
    ],
    [
      '{ host: a.com, credential: k, pin: { credential: k } }',
      'credential: found "k", expected either credential or pin',
    ],
    [
      '{ host: a.com, tls: passthrough, dlp: true }',
      'dlp: found true, expected a rule that inspects: tls: passthrough does not look inside',
    ],
    [
      '{ host: a.com, tls: passthrough, pin: { credential: k } }',
      'pin: found a mapping, expected a rule that inspects: tls: passthrough does not look inside',
    ],
    [
      '{ host: "*.a.com", credentials: [k] }',
      'credentials: found a list, expected one exact host: a wildcard could send the credential to a host nobody named',
    ],
    [
      '{ host: a.com, pin: { credential: k, places: [cookie] } }',
      'pin.places[0]: found "cookie", expected a place: header:NAME, header:NAME:bearer (or basic, token), query:NAME, cookie:NAME, ws-protocol, sigv4 or body',
    ],
  ])('refuses the rule %s', (rule, expected) => {
    expect(problems(`version: 1\nnetwork: { allow: [${rule}] }`)[0]).toBe(`network.allow[0].${expected}`);
  });

  it.each([
    [
      'parentProxy: "https://p.test:1"',
      'network.parentProxy: found text, expected a proxy such as http://proxy.example.com:3128: TLS to the proxy is not supported',
    ],
    [
      'parentProxy: "http://u:p@p.test:1"',
      'network.parentProxy: found text, expected a proxy such as http://proxy.example.com:3128: a secret does not stand in a policy: use credential',
    ],
    ['ask: { timeout: 1h }', 'network.ask.timeout: found "1h", expected a time from 1s to 10m'],
    ['dlp: { decodeDepth: 9 }', 'network.dlp.decodeDepth: found 9, expected a number from 0 to 4'],
    ['dlp: { pattern: true }', 'network.dlp.pattern: there is no such key (did you mean patterns?)'],
    ['mode: allow', 'network.mode: found "allow", expected one of deny, names, all'],
  ])('refuses network.%s', (text, expected) => {
    expect(problems(`version: 1\nnetwork:\n  ${text}`)[0]).toBe(expected);
  });

  it.each([
    [
      '{ from: sk-live-123456, bearer: true }',
      'from: found text, expected a source: env:NAME, file:PATH, systemd:NAME, store:NAME, or { command: [PROGRAM, …] }: a secret does not stand in a policy',
    ],
    [
      '{ from: env:K }',
      'from: found text, expected a place beside it: header, bearer, basic, query, cookie or in',
    ],
    [
      '{ from: env:K, sigv4: true }',
      'sigv4: found true, expected from: { accessKeyId, secretAccessKey }: a signature needs both',
    ],
    [
      '{ from: env:K, bearer: true, hosts: ["*.a.com"] }',
      'hosts[0]: found text, expected one exact host: a wildcard could send the credential to a host nobody named',
    ],
    [
      '{ from: env:K, bearer: true, hosts: ["a.com:80"] }',
      'hosts[0]: found text, expected a port with TLS: http would send the credential in clear',
    ],
    ['{ from: env:K, bearer: true, hosts: [] }', 'hosts: found an empty list, expected at least one host'],
    [
      '{ from: env:K, header: content-length }',
      'header: found text, expected another header: this one frames the message, and the gateway writes it',
    ],
    [
      '{ from: env:K, bearer: true, expose: { env: LD_PRELOAD } }',
      'expose.env: found text, expected another variable: it steers a loader or interpreter',
    ],
  ])('refuses the credential %s', (written, expected) => {
    expect(problems(`version: 1\ncredentials: { k: ${written} }`)[0]).toBe(`credentials.k.${expected}`);
  });

  it.each([
    [
      'credentials: { k: { from: env:K, bearer: true } }',
      'credentials.k: expected hosts, or a rule of network.allow that names it: it would be used nowhere',
    ],
    [
      'network: { allow: [{ host: a.com, credential: k }] }\ncredentials: { k: { from: env:K, bearer: true, hosts: [b.com] } }',
      'credential: found "k", expected a credential for a.com:443: it is for b.com:443 only',
    ],
    [
      'credentials: { a: { from: env:K, bearer: true, hosts: [b.com] }, b: { from: env:K, bearer: true, hosts: [b.com] } }',
      'credentials.b: found "K", expected a variable of its own in expose: credential a is known inside under it',
    ],
    [
      'process: { env: [K] }\ncredentials: { a: { from: env:K, bearer: true, hosts: [b.com] } }',
      'process.env: found "K", expected it only in the credential: the secret of credential a would enter the sandbox',
    ],
    [
      'network: { parentProxy: { url: "http://p.test:1", credential: gone } }',
      'network.parentProxy.credential: found "gone", expected a name from `credentials`: none is defined',
    ],
    [
      'network: { allow: [{ host: a.com, pin: { credential: k, places: [sigv4] } }] }\ncredentials: { k: { from: env:K, bearer: true } }',
      'credential: found "sigv4", expected another place than sigv4: credential k does not sign',
    ],
  ])('refuses what does not fit together: %s', (text, expected) => {
    expect(caught(() => load(text)).message).toContain(expected);
  });

  it('trusts authorities of the organisation and the person only', () => {
    using fixture = new PolicyFixture();
    const file = fixture.write(`${fixture.root}/ci.yaml`, 'version: 1\nnetwork: { trust: [/x.pem] }\n');
    expect(caught(() => resolvePolicy(fixture.context, { policyFile: file })).message).toContain(
      'network.trust: found a list, expected it in the organisation policy or in your own',
    );
    fixture.organisation('version: 1\nnetwork: { trust: [/corp.pem] }\n');
    expect(resolvePolicy(fixture.context, {}).policy.network.trust).toEqual(['/corp.pem']);
    fixture.user('version: 1\nnetwork: { trust: [/mine.pem] }\n');
    expect(caught(() => resolvePolicy(fixture.context, {})).message).toContain('trusting /mine.pem');
  });

  it('opens everything public by one word, and explains it', () => {
    const all = load('network: { mode: all }').network.allow.map(
      (rule) => `${rule.host} ${rule.ports.join()}`,
    );
    expect(all).toEqual(['* 443', '* 80', '0.0.0.0/0 443', '0.0.0.0/0 80', '::/0 443', '::/0 80']);
    expect(load('network: { mode: names }').network.allow).toHaveLength(2);
  });

  it('explains what a preset brought and why', () => {
    using fixture = new PolicyFixture();
    fixture.user('version: 1\nextends: [profile:claude-code-pinned]\n');
    const text = explainPolicy(resolvePolicy(fixture.context, {}).policy, { sources: true });
    expect(text).toContain('allow    api.anthropic.com:443 (https, inspected)');
    expect(text).toContain('pass     POST /v1/messages  (inference (Anthropic))');
    expect(text).toContain('refuse   /v1/files/**  (keeps what a sandbox uploads where others can fetch it)');
    expect(text).toContain('secret   pinned to credential anthropic');
    expect(text).toContain(
      'anthropic: from env:ANTHROPIC_API_KEY, to api.anthropic.com:443, in header:x-api-key',
    );
  });
});
