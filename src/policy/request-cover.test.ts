import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { NetworkRule } from './contract.ts';
import { coverGap } from './covers.ts';
import { decidingRules } from './deciding.ts';
import { diffPolicies, formatDifference } from './diff.ts';
import { PolicyFixture } from './fixture.ts';
import { loadDocument } from './import/load-document.ts';
import { pathCovers } from './path-cover.ts';
import { findProjectFile } from './project-file.ts';
import { resolveInFull, resolvePolicy } from './resolve.ts';

/** Rules as a person writes them; `k` is a credential for every host. */
function rules(...written: readonly string[]): readonly NetworkRule[] {
  const uses = written.some((text) => /credential|pin/.test(text));
  const credentials = uses ? 'credentials: { k: { from: env:K, in: [header:x-k, query:k] } }' : '';
  const text = `version: 1\nnetwork: { allow: [${written.join(', ')}] }\n${credentials}`;
  return loadDocument(parse(text) as object).network.allow;
}

function gap(wide: string, narrow: string): string | undefined {
  const [rule] = rules(narrow);
  return rule === undefined ? 'no rule' : coverGap(rules(wide), rule)?.why;
}

describe('pathCovers', () => {
  it.each([
    ['/**', '/a/**', true],
    ['/v1/**', '/v1/a/*', true],
    ['/v1/**', '/v1/**', true],
    ['/v1/**', '/v1', false],
    ['/v1/**', '/v10/a', false],
    ['/v1/**', '/**', false],
    ['/v1/*', '/v1/a', true],
    ['/v1/*', '/v1/a/b', false],
    ['/v1/*', '/v1/', false],
    ['/v1/a*z', '/v1/abz', true],
    ['/v1/a*z', '/v1/az', true],
    ['/v1/a*b*z', '/v1/abz', true],
    ['/v1/a*b*b', '/v1/ab', false],
    ['/v1/*', '/v1/*x', false],
    ['/*/x/**', '/a/x/b', false],
    ['/a', '/A', false],
  ])('%s and %s: %s', (wide, narrow, expected) => {
    expect(pathCovers(wide, narrow)).toBe(expected);
  });
});

describe('coverGap', () => {
  it.each([
    ['a.test', '{ host: a.test, methods: [GET], json: [{ path: $.x }], dlp: true, websocket: inspect }'],
    ['a.test', '{ host: a.test, methods: [GET], dlp: true, websocket: allow }'],
    ['{ host: a.test, tls: inspect }', '{ host: a.test, paths: [/v1/**], refuse: [{ path: /v1/x }] }'],
    ['{ host: a.test, methods: [GET, POST] }', '{ host: a.test, methods: [GET], paths: [/v1/a] }'],
    [
      '{ host: a.test, refuse: [{ path: /x/a }] }',
      '{ host: a.test, refuse: [{ path: /x/** }, { query: { u: any } }] }',
    ],
    ['{ host: a.test, json: [{ path: $.a, equals: [x] }] }', '{ host: a.test, json: [{ path: $.a }] }'],
    [
      '{ host: a.test, json: [{ path: $.a, equals: xy }] }',
      '{ host: a.test, json: [{ path: $.a, prefix: [x] }] }',
    ],
    ['{ host: a.test, mcp: { tools: ["get_*"] } }', '{ host: a.test, mcp: { tools: [get_a, "get_b*"] } }'],
    ['{ host: a.test, requestHeaders: [accept, x] }', '{ host: a.test, requestHeaders: [Accept] }'],
    [
      '{ host: a.test, credential: k }',
      '{ host: a.test, credential: k, paths: [/a], limits: { body: 1KiB } }',
    ],
    ['{ host: a.test, credentials: [k] }', '{ host: a.test, credential: k }'],
    ['{ host: a.test, pin: { credential: k, require: false } }', '{ host: a.test, credential: k }'],
    [
      '{ host: 10.0.0.0/8, port: 1, protocol: tcp, private: true }',
      '{ host: 10.1.0.0/16, port: 1, protocol: tcp, private: true }',
    ],
    [
      '{ host: 10.0.0.0/8, port: 1, protocol: tcp, private: true }',
      '{ host: 10.9.9.9, port: 1, protocol: tcp, private: true }',
    ],
    ['{ host: a.test, requests: [{ rpc: "p.S/*" }] }', '{ host: a.test, requests: [{ rpc: p.S/Get }] }'],
  ])('%s covers %s', (wide, narrow) => {
    expect(gap(wide, narrow)).toBeUndefined();
  });

  it.each([
    ['{ host: a.test, tls: inspect }', 'a.test', 'it is inspected there'],
    ['{ host: a.test, methods: [GET] }', '{ host: a.test, tls: inspect }', 'only some requests pass there'],
    ['{ host: a.test, methods: [GET] }', '{ host: a.test, methods: [PUT] }', 'PUT does not pass there'],
    [
      '{ host: a.test, paths: [/v1/**] }',
      '{ host: a.test, methods: [GET], paths: [/v2/a] }',
      'GET /v2/a does not pass there',
    ],
    [
      '{ host: a.test, refuse: [{ path: /x/** }] }',
      '{ host: a.test, refuse: [{ path: /x/a }] }',
      '/x/** is refused there',
    ],
    [
      '{ host: a.test, refuse: [{ query: { u: any } }] }',
      '{ host: a.test, tls: inspect }',
      '?u is refused there',
    ],
    [
      '{ host: a.test, tls: inspect }',
      '{ host: a.test, mode: observe }',
      'it is enforced there, not observed',
    ],
    ['{ host: a.test, tls: inspect }', '{ host: a.test, http2: true }', 'HTTP/2 is not offered there'],
    [
      '{ host: a.test, websocket: inspect }',
      '{ host: a.test, websocket: allow }',
      'websocket is inspect there',
    ],
    [
      '{ host: a.test, tls: inspect }',
      '{ host: a.test, setHeaders: { x: y } }',
      'other headers are set there',
    ],
    [
      '{ host: a.test, json: [{ path: $.a }] }',
      '{ host: a.test, json: [{ path: $.a, equals: x }] }',
      '$.a in a JSON body is refused there',
    ],
    ['{ host: a.test, mcp: { tools: [a] } }', '{ host: a.test, mcp: {} }', 'only some tools pass there'],
    [
      '{ host: a.test, graphql: {} }',
      '{ host: a.test, graphql: { types: [mutation] } }',
      'a GraphQL mutation does not pass there',
    ],
    ['{ host: a.test, dlp: true }', '{ host: a.test, tls: inspect }', 'it is scanned there'],
    [
      '{ host: a.test, limits: { body: 1KiB } }',
      '{ host: a.test, tls: inspect }',
      'its limit for bodyBytes there is 1024',
    ],
    [
      '{ host: a.test, credential: k }',
      '{ host: a.test, credentials: [k] }',
      'it is pinned to credential k there',
    ],
    [
      '{ host: a.test, credential: k }',
      '{ host: a.test, pin: { credential: k, require: false } }',
      'credential k is required there',
    ],
    [
      '{ host: a.test, credential: k }',
      '{ host: a.test, pin: { credential: k, places: [query:k] } }',
      'credential k may stand in other places there',
    ],
    ['a.test', '{ host: a.test, credential: k }', 'credential k is not used there'],
    [
      '{ host: 10.1.0.0/16, port: 1, protocol: tcp, private: true }',
      '{ host: 10.0.0.0/8, port: 1, protocol: tcp, private: true }',
      'no rule there covers 10.0.0.0/8',
    ],
  ])('%s does not cover %s', (wide, narrow, why) => {
    expect(gap(wide, narrow)).toBe(why);
  });

  it('asks the rule that decides, not a broader one that would let it pass', () => {
    const [narrow] = rules('api.a.test');
    if (narrow === undefined) throw new Error('no rule');
    const mine = rules('"*.a.test"', '{ host: api.a.test, methods: [GET] }');
    expect(coverGap(mine, narrow)?.why).toBe('it is inspected there');
  });
});

describe('decidingRules', () => {
  const texts = (...layers: readonly (readonly NetworkRule[])[]): readonly string[] =>
    decidingRules(layers).map(
      (rule) => `${rule.host}:${rule.ports.join()}${rule.requests === undefined ? '' : ' inspected'}`,
    );

  it('lets the later layer decide for a host and port, and nothing else', () => {
    const profile = rules('{ host: a.test, ports: [443, 8443] }', 'b.test');
    const user = rules('{ host: a.test, methods: [GET] }');
    expect(texts(profile, user)).toEqual(['a.test:8443', 'b.test:443', 'a.test:443 inspected']);
  });

  it('lets a plain grant lift nothing, before or after', () => {
    const pinned = rules('{ host: a.test, methods: [GET] }');
    expect(texts(pinned, rules('a.test'))).toEqual(['a.test:443 inspected']);
    expect(texts(rules('a.test', '{ host: a.test, methods: [GET] }'))).toEqual(['a.test:443 inspected']);
  });
});

describe('a project', () => {
  const mine = 'version: 1\nnetwork: { allow: [api.test, { host: git.test, methods: [GET] }], ask: false }\n';

  function widenings(project: string): readonly string[] {
    using fixture = new PolicyFixture();
    fixture.user(mine);
    fixture.project(`version: 1\n${project}`);
    const file = findProjectFile(fixture.workspace)?.file;
    if (file === undefined) throw new Error('no project file');
    return resolveInFull(fixture.context, {}, { all: file }).widenings.map((found) => found.text);
  }

  it.each([
    'network: { allow: [{ host: api.test, methods: [GET] }, { host: git.test, methods: [GET], refuse: [{ path: /x }] }] }',
    'network: { dlp: { canaries: [canary-0123], action: observe }, deny: [api.test], overBudget: pause, ask: false }',
  ])('tightens without a question: %s', (text) => {
    expect(widenings(text)).toEqual([]);
  });

  it.each([
    [
      'network: { allow: [{ host: git.test, tls: inspect }] }',
      /^reaches git\.test:443 \(https, inspected, sha256 [0-9a-f]{12}\); yours says: only some requests pass there$/,
    ],
    ['network: { mode: names }', /^reaches \*:443 \(https\)$/],
    ['network: { ask: true }', /^asks about unknown hosts, where they were refused: waits 30s/],
    ['network: { parentProxy: "http://evil.test:1" }', /^sends connections through http:\/\/evil\.test:1$/],
    [
      'credentials: { k: { from: { command: [sh, -c, x] }, bearer: true, hosts: [evil.test] } }',
      /^defines credential k: from command "sh" with 2 arguments, to evil\.test:443/,
    ],
    ['network: { trust: [/x] }', /never/],
  ])('is asked about %s', (text, expected) => {
    if (text.includes('trust')) expect(() => widenings(text)).toThrow('so the project layer may not');
    else expect(widenings(text)[0]).toMatch(expected);
  });
});

describe('scanning', () => {
  it('is not weakened by what a project says where nobody said how', () => {
    using fixture = new PolicyFixture();
    fixture.user('version: 1\nnetwork: { allow: [{ host: a.test, dlp: true }] }\n');
    fixture.project('version: 1\nnetwork: { dlp: { uninspectable: allow, action: observe } }\n');
    const file = findProjectFile(fixture.workspace)?.file;
    if (file === undefined) throw new Error('no project file');
    const { resolved } = resolveInFull(fixture.context, {}, { all: file });
    expect(resolved.policy.network.dlp).toMatchObject({ uninspectable: 'deny', action: 'deny' });
  });
});

describe('diffPolicies', () => {
  it('sees what a removed rule held back, and weaker scanning', () => {
    using fixture = new PolicyFixture();
    fixture.user(
      'version: 1\nnetwork: { allow: ["*.a.test", { host: api.a.test, methods: [GET] }], dlp: { decodeDepth: 3 } }\n',
    );
    const before = resolvePolicy(fixture.context, {}).policy;
    fixture.user('version: 1\nnetwork: { allow: ["*.a.test"], dlp: true, ask: true }\n');
    const lines = diffPolicies(before, resolvePolicy(fixture.context, {}).policy).map(formatDifference);
    expect(lines).toEqual([
      expect.stringMatching(
        /^widens {3}removed {2}network\.allow {2}api\.a\.test:443 \(https, inspected: GET, .* {2}\(another rule decides there now, and lets more pass\)$/,
      ),
      expect.stringMatching(/^widens {3}(?:changed|removed) {2}network\.dlp {2}/),
      expect.stringMatching(/^widens {3}changed {2}network\.ask {2}nobody is asked -> waits 30s/),
    ]);
  });
});
