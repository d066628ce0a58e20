// HTTP/2: coalescing, a second stream with a foreign key, and bytes that HTTP/1 origins split. Source: CVE-2026-48491; PortSwigger; EGRESS G rows.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('every stream is judged on its own, and none becomes two requests', async (tier) => {
  await using box = new EgressBox(tier, { llm: { http2: true } });
  const result = await box.probe(`
KIND = 'content-type: application/json'
def tried(name, fields, body=b'{"evil":1}'):
    link = H2()
    honest = link.request(h2_fields(lines=(OWN, KIND)), b'{}')
    second = link.request(fields, body)
    first, answer = link.read(honest, second)
    report(name, f'{first} then {answer}')
tried('foreign', h2_fields(lines=(f'x-api-key: {FOREIGN}', KIND)))
tried('authority', h2_fields(lines=(OWN, KIND), authority=OTHER))
tried('authority-port', h2_fields(lines=(OWN, KIND), authority=LLM + ':8443'))
tried('host', h2_fields(lines=(OWN, KIND, f'host: {OTHER}')))
tried('no-authority', [field for field in h2_fields(lines=(OWN, KIND, f'host: {OTHER}')) if field[0] != ':authority'])
tried('upload', h2_fields(path='/v1/files', lines=(OWN, KIND)))
tried('crlf', h2_fields(lines=(OWN, KIND, 'x-a: b\\r\\nx-api-key: ' + FOREIGN)), b'{}')
tried('crlf-name', h2_fields(lines=(OWN, KIND)) + [('x-a: b\\r\\nx-api-key', FOREIGN)], b'{}')
tried('lf-path', h2_fields(path='/v1/messages HTTP/1.1\\r\\nX: y', lines=(OWN, KIND)))
tried('space-path', h2_fields(path='/v1/messages HTTP/1.1', lines=(OWN, KIND)))
tried('method', h2_fields(method='POST /v1/files HTTP/1.1\\r\\nX: ', lines=(OWN, KIND)))
tried('te', h2_fields(lines=(OWN, KIND, 'transfer-encoding: chunked')), b'0\\r\\n\\r\\nGET /evil HTTP/1.1\\r\\n\\r\\n')
tried('connection', h2_fields(lines=(OWN, KIND, 'connection: x-api-key')))
tried('length-short', h2_fields(lines=(OWN, KIND, 'content-length: 0')))
tried('length-long', h2_fields(lines=(OWN, KIND, 'content-length: 99')))
tried('lengths', h2_fields(lines=(OWN, KIND, 'content-length: 10', 'content-length: 11')))
tried('upper', h2_fields(lines=(OWN, KIND, 'X-Upper: a')))
tried('scheme', [(':scheme', 'http') if field[0] == ':scheme' else field for field in h2_fields(lines=(OWN, KIND))])
tried('late-pseudo', h2_fields(lines=(OWN, KIND)) + [(':path', '/v1/files')])
tried('two-paths', [(':path', '/v1/files'), *h2_fields(lines=(OWN, KIND))])
tried('connect', [(':method', 'CONNECT'), (':authority', f'{EVIL}:443')])
tried('websocket', [(':method', 'CONNECT'), (':protocol', 'websocket'), *h2_fields(lines=(OWN,))[1:]], b'')
control()
`);
  const seen = outcomes(result);
  expect(seen['foreign']).toBe('200 the origin then 403 structural.pin.foreign');
  expect(seen['upload']).toMatch(/^200 the origin then 403 llm/);
  for (const name of ['authority', 'authority-port'])
    expect([name, seen[name]]).toEqual([name, expect.stringContaining('then 421 structural.host-mismatch')]);
  expect(Object.keys(seen)).toHaveLength(23);
  // A field with a line break is dropped before anything reads it: the request may pass without it.
  const open = new Set(['control', 'crlf', 'crlf-name']);
  const passed = Object.entries(seen).filter(
    ([name, text]) => !open.has(name) && /then 200|then whole/.test(text),
  );
  expect(passed).toEqual([]);
  expect(box.received).not.toMatch(/evil|AttackerOwnKey|x-a:/);
  expect(
    box.arrived.every((one) => one.headers['x-api-key'] === box.secret && one.url === '/v1/messages'),
  ).toBe(true);
  expect(box.refusals()).toContainEqual(
    expect.objectContaining({ http: '2', rule: 'structural.pin.foreign', alarm: true }),
  );
});
