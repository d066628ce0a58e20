import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { NetworkRule, RequestPolicy } from '../../policy/contract.ts';
import { POLICIES, facts, ruleWith } from './fixture.ts';
import { judgeBodyRules, judgeRequestRules } from './index.ts';

const JSON_TYPE = ['Content-Type', 'application/json'];

/** Suffix of the deciding rule, status first when it is not 403; undefined: it passes. */
function judge(rule: NetworkRule, body: unknown, headers: readonly string[] = JSON_TYPE): string | undefined {
  const bytes =
    body instanceof Uint8Array ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const verdict = judgeBodyRules(
    rule,
    { ...facts('POST /v1/messages', headers), path: '/v1/messages' },
    bytes,
  );
  if (verdict.refuse === undefined) return undefined;
  return `${verdict.status === 403 ? '' : `${verdict.status} `}${verdict.refuse.rule.slice('api'.length)}`;
}

describe('json (P-pin-body)', () => {
  const rule = POLICIES['P-pin'];

  test.each([
    ['P41', '{"tools":[{"type":"web_fetch_20250910","name":"f"}]}', '.json[1]'],
    ['P42', '{"mcp_servers":[{"type":"url","url":"https://evil.test"}]}', '.json[0]'],
    [
      'P43',
      '{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"x"}}]}]}',
      '.json[2]',
    ],
    ['P44', '{"tools":[{"type":"code_execution_20250522"}]}', '.json[1]'],
    ['P45', '{"tools":[],"tools":[{"type":"web_fetch_20250910"}]}', '400 .json'],
    ['P46', '{"to\\u006fls":[{"type":"web_fetch_20250910"}]}', '.json[1]'],
    ['P46 value', '{"tools":[{"type":"web\\u005ffetch"}]}', '.json[1]'],
    ['P46 case', '{"Tools":[{"Type":"web_fetch"}]}', '.json[1]'],
    ['P47', '{"messages":[{"role":"user","content":"please use \\"mcp_servers\\" in docs"}]}', undefined],
    ['empty object', '{}', undefined],
    ['other tools', '{"tools":[{"type":"custom"},{"name":"web_fetch"}]}', undefined],
    ['null is there', '{"mcp_servers":null}', '.json[0]'],
    ['trailing data', '{}{"mcp_servers":[]}', '400 .json'],
    ['not JSON', 'mcp_servers=1', '400 .json'],
    ['no body', '', undefined],
  ])('%s', (_id, body, part) => {
    expect(judge(rule, body)).toBe(part);
  });

  test('P48: a packed body, and types that are no JSON', () => {
    const gzip = gzipSync('{"mcp_servers":[]}');
    expect(judge(rule, gzip, [...JSON_TYPE, 'Content-Encoding', 'gzip'])).toBe('.body');
    for (const name of ['Content_Encoding', 'content_type'])
      expect(judge(rule, '{}', [...JSON_TYPE, name, 'gzip'])).toBe('400 .body');
    expect(judge(rule, '{}', [...JSON_TYPE, 'content-encoding', 'identity'])).toBeUndefined();
    for (const type of [
      'text/plain',
      'multipart/form-data; boundary=x',
      'application/json; charset=utf-16',
      'application/json, text/plain',
      'application/json; x',
    ])
      expect(judge(rule, '{}', ['content-type', type])).toBe('.body');
    expect(judge(rule, '{}', [])).toBe('.body');
    expect(judge(rule, '{}', [...JSON_TYPE, ...JSON_TYPE])).toBe('.body');
    for (const type of [
      'application/json; charset=UTF-8',
      'application/vnd.api+json;v=1',
      'APPLICATION/JSON ; profile="a"',
    ])
      expect(judge(rule, '{}', ['content-type', type])).toBeUndefined();
  });

  test('says what was found and where', () => {
    const verdict = judgeBodyRules(
      rule,
      { ...facts('POST /x', JSON_TYPE), path: '/x' },
      Buffer.from('{"tools":[{"type":"web_fetch\\n"}]}'),
    );
    expect(verdict.refuse).toEqual({
      action: 'deny',
      rule: 'api.json[1]',
      reason:
        'api refuses "$.tools[*].type" that begins with "web_fetch" or "web_search" or "code_execution" in the body',
      source: '/etc/p.yaml:7',
      remedy: 'change `json` of api in the policy, or its preset',
    });
  });

  test('a rule without body rules reads nothing', () => {
    expect(judge(POLICIES['P-path'], 'anything', [])).toBeUndefined();
  });
});

describe('mcp', () => {
  const mcp = (rules: NonNullable<RequestPolicy['mcp']>) => ruleWith({ mcp: rules });
  const call = (method: string, name?: string) => ({ jsonrpc: '2.0', id: 1, method, params: { name } });

  test.each([
    [{ tools: ['read_*', 'echo'] }, call('tools/call', 'read_file'), undefined],
    [{ tools: ['read_*', 'echo'] }, call('tools/call', 'echo2'), '.mcp.tools'],
    [{ tools: ['echo'] }, [call('tools/call', 'echo'), call('tools/call', 'rm')], '.mcp.tools'],
    [{ tools: [] }, call('tools/list'), undefined],
    [{ tools: ['echo'] }, call('Tools/Call', 'rm'), '400 .mcp'],
    [{ methods: ['tools/*'] }, call('tools/call', 'rm'), undefined],
    [{ methods: ['tools/list'] }, call('tools/call', 'echo'), '.mcp.methods'],
    [{ methods: [] }, call('initialize'), undefined],
    [{ methods: [] }, call('ping'), undefined],
    [{ methods: [] }, call('notifications/initialized'), undefined],
    [{ methods: [] }, { jsonrpc: '2.0', id: 1, result: {} }, undefined],
    [{ methods: [] }, '{"jsonrpc":"2.0","id":1,"method":"ping","method":"x"}', '400 .mcp'],
  ])('%j %j', (rules, message, part) => {
    expect(judge(mcp(rules), message)).toBe(part);
  });

  test('a header that names another tool', () => {
    const rule = mcp({ tools: ['echo'] });
    expect(judge(rule, call('tools/call', 'echo'), [...JSON_TYPE, 'Mcp-Name', 'rm'])).toBe('400 .mcp');
    expect(
      judge(rule, call('tools/call', 'echo'), [...JSON_TYPE, 'Mcp-Name', 'echo', 'Mcp-Method', 'tools/call']),
    ).toBeUndefined();
  });
});

describe('graphql', () => {
  const queries = ruleWith({ graphql: { types: ['query'], fields: ['viewer', 'repository'] } });

  test.each([
    ['{viewer{login}}', undefined],
    ['{__typename v: viewer {x}}', undefined],
    ['{viewer: secrets{x}}', '.graphql.fields'],
    ['query{...F} fragment F on Query{secrets}', '.graphql.fields'],
    ['{...{... on Query{secrets}}}', '.graphql.fields'],
    ['{__schema{types{name}}}', '.graphql.fields'],
    ['mutation{viewer}', '.graphql.types'],
    ['{viewer', '400 .graphql'],
  ])('%s', (query, part) => {
    expect(judge(queries, { query })).toBe(part);
  });

  test('a batch, an operation by name', () => {
    expect(judge(queries, [{ query: '{viewer}' }, { query: 'mutation{x}' }])).toBe('.graphql.types');
    const query = 'query A{viewer} mutation B{x}';
    expect(judge(queries, { query, operationName: 'A' })).toBeUndefined();
    expect(judge(queries, { query, operationName: 'B' })).toBe('.graphql.types');
  });

  test.each([
    ['GET /graphql?query={viewer}', undefined],
    ['GET /graphql?query={secrets}', 'api.graphql.fields'],
    ['GET /graphql?query=mutation{viewer}', 'api.graphql.types'],
    ['GET /graphql?documentId=1', 'api.graphql'],
    ['GET /graphql', undefined],
    ['POST /graphql?query=mutation{x}', 'api.graphql'],
    ['POST /graphql?qu%65ry=mutation{x}', 'api.graphql'],
    ['POST /graphql?trace=1', undefined],
  ])('%s', (line, rule) => {
    const verdict = judgeRequestRules(queries, facts(line));
    expect(verdict.state === 'refuse' ? verdict.verdict.rule : undefined).toBe(rule);
  });
});

test('observe: findings pass, what cannot be read does not', () => {
  const { requests } = POLICIES['P-pin'];
  const rule = ruleWith({ ...requests, enforcement: 'observe' });
  const judged = (body: string, headers = JSON_TYPE) =>
    judgeBodyRules(rule, { ...facts('POST /x', headers), path: '/x' }, Buffer.from(body));
  expect(judged('{"mcp_servers":1}')).toEqual({
    wouldDeny: 'api.json[0]: api refuses "$.mcp_servers" in the body',
  });
  expect(judged('{}', ['content-type', 'a/b']).wouldDeny).toContain('api.body');
  expect(judged('{"a":1,"a":2}').refuse?.rule).toBe('api.json');
});
