import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { POLICIES, facts, ruleWith } from './fixture.ts';
import { problemOf } from '../problem.ts';
import { rulesOf } from './compile.ts';
import { judgeBodyRules, judgeRequestRules } from './index.ts';
import type { RequestFacts, RulesVerdict } from './index.ts';

type PolicyName = keyof typeof POLICIES;

function judge(
  policy: PolicyName,
  line: string,
  headers: readonly string[] = [],
  more: Partial<RequestFacts> = {},
) {
  return judgeRequestRules(POLICIES[policy], facts(line, headers, more));
}

function refused(verdict: RulesVerdict): Extract<RulesVerdict, { state: 'refuse' }> {
  if (verdict.state !== 'refuse') throw new Error(`passes with the path ${verdict.path}`);
  return verdict;
}

function passed(verdict: RulesVerdict): Extract<RulesVerdict, { state: 'pass' }> {
  if (verdict.state !== 'pass') throw new Error(verdict.verdict.reason);
  return verdict;
}

/** Case rows of the layer "path", then what they imply. The last column is the suffix of the deciding rule, or nothing. */
const PATHS: readonly (readonly [string, PolicyName, string, string?])[] = [
  ['A03', 'P-path', 'GET /v1/repos-evil/x', '.paths'],
  ['A04', 'P-path', 'GET /v1/files', '.refuse[0]'],
  ['A05', 'P-path', 'GET /V1/repos/x', '.paths'],
  ['A07', 'P-star', 'GET /v1/orgs/a'],
  ['A08', 'P-star', 'GET /v1/orgs/a/b', '.paths'],
  ['star is not empty', 'P-star', 'GET /v1/orgs/', '.paths'],
  ['A10', 'P-denypath', 'GET /v1/filesystem'],
  ['A14', 'P-denypath', 'GET /v1/files?x=1', '.refuse[0]'],
  ['A15', 'P-denypath', 'GET /V1/Files/abc', '.refuse[0]'],
  ['full-width', 'P-denypath', 'GET /v1/%ef%bd%86iles/abc', '.refuse[0]'],
  ['long s', 'P-denypath', 'GET /v1/file%c5%bf/abc', '.refuse[0]'],
  ['A16', 'P-denypath', 'GET /v1/%66iles/abc', '.paths'],
  ['A18', 'P-denypath', 'GET /v1/repos/../files/abc', '.paths'],
  ['A19', 'P-denypath', 'GET /v1/./files/abc', '.paths'],
  ['A20', 'P-denypath', 'GET /v1//files/abc', '.paths'],
  ['A21', 'P-denypath', 'GET //v1/files/abc', '.paths'],
  ['A22', 'P-denypath', 'GET /v1/repos/%2e%2e/files/abc', '.paths'],
  ['A23', 'P-denypath', 'GET /v1/repos/%2E./files/abc', '.paths'],
  ['A24', 'P-denypath', 'GET /v1/repos/..%2ffiles/abc', '.paths'],
  ['A25', 'P-denypath', 'GET /v1/repos/%252e%252e/files/abc', '.paths'],
  ['A26', 'P-denypath', 'GET /v1/%2566iles/abc', '.paths'],
  ['A27', 'P-denypath', 'GET /v1/files;x=1/abc', '.paths'],
  ['A28', 'P-denypath', 'GET /v1/repos/..;/files/abc', '.paths'],
  ['A30', 'P-denypath', 'GET /v1\\files\\abc', '.paths'],
  ['A32', 'P-denypath', 'GET /v1%5cfiles/abc', '.paths'],
  ['A33', 'P-denypath', 'GET /v1/files%00/abc', '.paths'],
  ['A36', 'P-denypath', 'GET /v1/files%09/abc', '.paths'],
  ['A37', 'P-denypath', 'GET /v1/%c0%afiles/abc', '.paths'],
  ['A38', 'P-denypath', 'GET /v1/repos/%c0%ae%c0%ae/files/abc', '.paths'],
  ['A39', 'P-denypath', 'GET /v1/%u0066iles/abc', '.paths'],
  ['A40', 'P-denypath', 'GET /v1/\u00efiles/abc', '.target'],
  ['A41', 'P-denypath', 'GET /v1/files#x', '.target'],
  ['A42', 'P-denypath', 'GET /v1/repos/x#/../../files', '.target'],
  ['A45', 'P-path', 'GET /v1/repos/../repos/x', '.paths'],
  ['A46', 'P-path', 'GET /v1/repos/@scope%2fname', '.paths'],
  ['A47', 'P-encslash', 'GET /v1/repos/@scope%2fname'],
  ['climb by %2f', 'P-encslash', 'GET /v1/repos/..%2f..%2ffiles', '.paths'],
  ['refused through %2f', 'P-encslash', 'GET /v1%2ffiles%2fabc', '.refuse[0]'],
  ['A49', 'P-path', 'GET /v1/repos/a%20b'],
  ['A50', 'P-path', 'GET /v1/repos/x;v=1', '.paths'],
  ['A52', 'P-path', 'GET *', '.target'],
  ['A53', 'P-path', 'GET v1/repos/x', '.target'],
  ['A54', 'P-path', 'GET ?x', '.target'],
  ['A56', 'P-path', 'GET /v1/repos/..', '.paths'],
  ['A57', 'P-path', 'GET /v1/repos/x/%2e%2e/%2e%2e/files', '.paths'],
  ['Q26', 'P-path', 'HEAD /v1/repos/x'],
  ['Q27', 'P-path', 'OPTIONS *', '.paths'],
  ['G32', 'P-denypath', 'GET /v1/repos/../files/x', '.paths'],
];

describe('paths', () => {
  for (const [id, policy, line, part] of PATHS)
    test(`${id} ${policy}: ${line}`, () => {
      const verdict = judge(policy, line);
      expect(verdict.state === 'refuse' ? verdict.verdict.rule : undefined).toBe(part && `api${part}`);
    });
});

test('without a path condition an unusual path goes on as it came', () => {
  for (const target of ['/a//b', '/a/../b', '/a;x=1', '/%41', '/%zz', '/a\\b'])
    expect(passed(judge('P-mitm', `GET ${target}`)).path).toBe(target);
  expect(passed(judge('P-mitm', 'OPTIONS *')).path).toBe('*');
  expect(passed(judge('P-mitm', 'GET /%e2%82%ac?x')).path).toBe('/%E2%82%AC');
});

test('a rule that says nothing about requests passes everything as it came', () => {
  const { requests: _, ...bare } = POLICIES['P-path'];
  expect(judgeRequestRules(bare, facts('GET /a/../b?x=1&y', ['A', 'b']))).toEqual({
    state: 'pass',
    path: '/a/../b',
    queryNames: ['x', 'y'],
    headers: ['Host', 'api.allowed.test', 'A', 'b'],
    needsBody: false,
  });
});

test('no target throws, and none that passes is read as a refused one by a browser', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '/',
      '..',
      '%2e',
      '%2f',
      'v1',
      'files',
      'FILES',
      '%66',
      ';',
      '?',
      '#',
      '\\',
      '%25',
      '//',
      '%ef%bd%86',
      '&',
      '=',
    ),
    fc.string(),
  );
  fc.assert(
    fc.property(
      fc.array(piece),
      fc.constantFrom<PolicyName>('P-denypath', 'P-encslash', 'P-query', 'P-nourl'),
      (pieces, policy) => {
        const target = `/${pieces.join('')}`;
        const verdict = judge(policy, `GET ${target}`);
        if (verdict.state !== 'pass') return;
        const path = decodeURIComponent(new URL(`https://api.allowed.test${target}`).pathname);
        expect(path).toBe(decodeURIComponent(target.replace(/\?.*$/s, '')));
        expect(/^\/v1\/files(?:\/|$)/i.test(path)).toBe(false);
      },
    ),
    { numRuns: 1_000 },
  );
});

describe('verdicts explain themselves', () => {
  test('a method', () => {
    expect(refused(judge('P-path', 'POST /v1/repos/x'))).toMatchObject({
      status: 405,
      verdict: {
        action: 'deny',
        rule: 'api.methods',
        reason: 'api allows the path "/v1/repos/x", but not POST',
        source: '/etc/p.yaml:7',
        remedy: 'add `- { methods: [POST], path: "/v1/repos/x" }` under `requests` of api in the policy',
        methods: ['GET', 'HEAD'],
      },
    });
  });

  test('a method names those that the path takes, and no others', () => {
    const policy = {
      allow: [
        { methods: ['GET', 'HEAD'], path: '/v1/a' },
        { methods: ['PUT'], path: '/v1/*' },
        { methods: ['DELETE'], path: '/v1/b' },
      ],
    };
    const { status, verdict } = refused(judgeRequestRules(ruleWith(policy), facts('POST /v1/a')));
    expect(status).toBe(405);
    expect(verdict.methods).toEqual(['GET', 'HEAD', 'PUT']);
    const problem = problemOf(status, verdict);
    expect(problem.headers.slice(problem.headers.indexOf('Allow'))).toEqual(['Allow', 'GET, HEAD, PUT']);
    expect(problemOf(403, verdict).headers).not.toContain('Allow');
    expect(
      refused(judgeRequestRules(ruleWith(policy), facts('POST /v1/c/d'))).verdict.methods,
    ).toBeUndefined();
  });

  test('a path with an escape', () => {
    const { status, verdict } = refused(judge('P-path', 'GET /v2/%E2%82%AC/x'));
    expect(status).toBe(403);
    expect(verdict.reason).toBe('api does not allow GET "/v2/%E2%82%AC/x"');
    expect(verdict.remedy).toContain('path: "/v2/*/x"');
  });

  test('hostile text stays printable and short', () => {
    const { verdict, path } = refused(judge('P-path', `GET /${'x"'.repeat(9_000)}`));
    expect(verdict.reason).toMatch(/^[\x20-\x7e…]{1,300}$/);
    expect(path.length).toBeLessThanOrEqual(1_024);
  });
});

describe('methods', () => {
  test.each([
    ['Q13', 'GET /v1/repos/x', ['X-HTTP-Method-Override', 'DELETE']],
    ['Q13 underscores', 'GET /v1/repos/x', ['x_http_method_override', 'DELETE']],
    ['Q14', 'GET /v1/repos/x?_method=DELETE', []],
    ['Q14 escaped', 'GET /v1/repos/x?%5fmethod=DELETE', []],
  ])('%s', (_id, line, headers) => {
    expect(refused(judge('P-path', line, headers)).verdict.rule).toBe('api.methods');
  });

  test.each([
    ['Q28', 'GET /v1/repos/x', 'P-path'],
    ['M45', 'HEAD /v1/repos/x', 'P-path'],
    ['DELETE', 'DELETE /v1/repos/x', 'P-methods'],
  ] as const)('%s: a body where none belongs', (_id, line, policy) => {
    expect(refused(judge(policy, line, ['Content-Length', '14'])).verdict.rule).toBe('api.body');
  });

  test('a rule without methods and paths does not mind', () => {
    expect(judge('P-mitm', 'GET /x?_method=PUT', ['Content-Length', '3', 'X-HTTP-Method', 'PUT']).state).toBe(
      'pass',
    );
  });
});

describe('query', () => {
  test.each([
    ['one', 'P-query', 'GET /v1/repos/x?ref=main', undefined],
    ['with others', 'P-query', 'GET /v1/repos/x?a=%ff&ref=main&a=1', undefined],
    ['missing', 'P-query', 'GET /v1/repos/x', 'api.query'],
    ['other', 'P-query', 'GET /v1/repos/x?ref=evil', 'api.query'],
    ['Q42', 'P-query', 'GET /v1/repos/x?ref=main&ref=evil', 'api.query'],
    ['Q43', 'P-query', 'GET /v1/repos/x?r%65f=evil&ref=main', 'api.query'],
    ['Q44', 'P-query', 'GET /v1/repos/x?ref=main;ref=evil', 'api.query'],
    ['url', 'P-nourl', 'GET /v1/repos/x?url=http://evil', 'api.refuse[0]'],
    ['url escaped', 'P-nourl', 'GET /v1/repos/x?a&b=1&u%72l', 'api.query'],
    ['URL', 'P-nourl', 'GET /v1/repos/x?URL=1', 'api.query'],
    ['url[]', 'P-nourl', 'GET /v1/repos/x?url[]=1', 'api.query'],
    ['no url', 'P-nourl', 'GET /v1/repos/x?curl=1', undefined],
  ] as const)('%s', (_id, policy, line, rule) => {
    const verdict = judge(policy, line);
    expect(verdict.state === 'refuse' ? verdict.verdict.rule : undefined).toBe(rule);
  });
});

describe('headers', () => {
  test('P40: a refused header, its look-alike, and a listed one', () => {
    const beta = (name: string) => judge('P-pin', 'POST /v1/messages', [name, 'x']);
    expect(refused(beta('Anthropic-Beta')).verdict.rule).toBe('api.refuse[3]');
    expect(refused(beta('anthropic_beta')).verdict.rule).toBe('api.headers');
    expect(beta('anthropic-version').state).toBe('pass');
  });

  test('a ruled header occurs once', () => {
    const rule = ruleWith({ allow: [{ headers: { 'x-v': { kind: 'regex', pattern: '^v[0-9]+$' } } }] });
    const judged = (...headers: string[]) => judgeRequestRules(rule, facts('GET /', headers)).state;
    expect(judged('X-V', 'v12')).toBe('pass');
    expect(judged('X-V', 'v12', 'x-v', 'v12')).toBe('refuse');
    expect(judged('X-V', 'v12', 'x_v', 'v12')).toBe('refuse');
    expect(judged('X-V', 'vx')).toBe('refuse');
    expect(judged()).toBe('refuse');
  });

  test('a refused value is found inside a list', () => {
    const rule = ruleWith({ refuse: [{ headers: { 'x-f': { kind: 'prefix', value: 'files' } } }] });
    expect(judgeRequestRules(rule, facts('GET /', ['X-F', 'a, files-api'])).state).toBe('refuse');
  });

  test('Q17, Q18: what re-routes or is not listed does not go on', () => {
    const extra = [
      'X-Forwarded-Path',
      '/v1/files',
      'X-Original-URL',
      '/v1/files',
      'Accept',
      '*/*',
      'X-Mine',
      '1',
    ];
    expect(passed(judge('P-path', 'GET /v1/repos/x', extra)).headers).toEqual([
      'Host',
      'api.allowed.test',
      'Accept',
      '*/*',
      'X-Mine',
      '1',
    ]);
    expect(
      passed(judge('P-headers', 'GET /v1/repos/x', [...extra, 'X-Middleware-Subrequest', 'm'])).headers,
    ).toEqual(['Host', 'api.allowed.test', 'Accept', '*/*']);
  });

  test('set and removed', () => {
    const rule = ruleWith({ setHeaders: { 'x-team': 'a' }, removeHeaders: ['x-gone'] });
    const out = passed(
      judgeRequestRules(rule, facts('GET /', ['X_TEAM', 'b', 'X-Gone', '1', 'K', '2'])),
    ).headers;
    expect(out).toEqual(['Host', 'api.allowed.test', 'K', '2', 'x-team', 'a']);
  });

  test('a list is all that passes: no header does for looking like a credential', () => {
    const pin = { credential: 'K', require: true, places: [{ kind: 'header', name: 'x-my' }] } as const;
    const sent = ['X-My', 'p', 'Authorization', 'q', 'X-Amz-Meta-Data', 'r', 'X-Job-Token', 's'];
    const pinned = ruleWith({ requestHeaders: ['x-my'], pin, credentials: ['K'] });
    expect(passed(judgeRequestRules(pinned, facts('GET /', sent))).headers).toEqual([
      'Host',
      'api.allowed.test',
      'X-My',
      'p',
    ]);
  });
});

describe('websocket', () => {
  test.each([
    ['W01', 'P-path', 'GET /v1/repos/ws', 'api.websocket'],
    ['W02', 'P-ws', 'GET /v1/stream', undefined],
    ['W03', 'P-ws', 'GET /v1/other', 'api.paths'],
  ] as const)('%s', (_id, policy, line, rule) => {
    const verdict = judge(policy, line, [], { websocket: true });
    expect(verdict.state === 'refuse' ? verdict.verdict.rule : undefined).toBe(rule);
  });
});

describe('grpc', () => {
  const type = ['content-type', 'application/grpc'];
  test.each([
    ['G34', 'POST /pkg.Svc/Get', type, undefined],
    ['G35', 'POST /pkg.Svc/Delete', type, 'api.rpc'],
    ['G37', 'POST /PKG.SVC/get', type, 'api.rpc'],
    ['GET', 'GET /pkg.Svc/Get', type, 'api.rpc'],
    ['no type', 'POST /pkg.Svc/Get', [], 'api.rpc'],
    ['web', 'POST /pkg.Svc/Get', ['content-type', 'application/grpc-web'], 'api.rpc'],
    ['two types', 'POST /pkg.Svc/Get', [...type, ...type], 'api.rpc'],
  ])('%s', (_id, line, headers, rule) => {
    const verdict = judge('P-grpc', line, headers, { http: '2', hasBody: true });
    expect(verdict.state === 'refuse' ? verdict.verdict.rule : undefined).toBe(rule);
  });
});

describe('observe', () => {
  const watched = ruleWith({ allow: [{ methods: ['GET'], path: '/a' }], enforcement: 'observe' });

  test('passes and says what it would refuse', () => {
    expect(passed(judgeRequestRules(watched, facts('GET /b'))).wouldDeny).toBe(
      'api.paths: api does not allow GET "/b"',
    );
    expect(passed(judgeRequestRules(watched, facts('GET /a'))).wouldDeny).toBeUndefined();
  });

  test('never lifts what is ambiguous, nor a WebSocket', () => {
    expect(refused(judgeRequestRules(watched, facts('GET /a/../b'))).status).toBe(400);
    expect(refused(judgeRequestRules(watched, facts('GET /a', [], { websocket: true }))).verdict.rule).toBe(
      'api.websocket',
    );
  });
});

test('a body is asked for only where it is read', () => {
  expect(passed(judge('P-pin', 'POST /v1/messages', ['Content-Length', '2'])).needsBody).toBe(true);
  expect(passed(judge('P-pin', 'POST /v1/messages')).needsBody).toBe(false);
  expect(passed(judge('P-path', 'POST /v1/messages', ['Content-Length', '2'])).needsBody).toBe(false);
});

test('a broken policy refuses every request, and is told when it is put in force', () => {
  const rule = ruleWith({ allow: [{ headers: { x: { kind: 'regex', pattern: '(?=a)' } } }] });
  expect(refused(judgeRequestRules(rule, facts('GET /'))).verdict).toMatchObject({ rule: 'api.policy' });
  expect(() => rulesOf(rule)).toThrow(/lookahead/);
  for (const broken of [{ path: '/v1/%66iles' }, { rpc: '/x' }])
    expect(() => rulesOf(ruleWith({ allow: [broken] }))).toThrow(broken.rpc ?? broken.path);
  const json = [{ path: '$', match: { kind: 'any' } }] as const;
  expect(
    judgeBodyRules(ruleWith({ json }), { ...facts('POST /'), path: '/' }, Buffer.from('{}')).status,
  ).toBe(400);
});
