// One message that two parsers read as two, inside inspected TLS. Source: CVE-2022-32213, CVE-2021-39214, CVE-2025-22871, CVE-2026-2332; PortSwigger.
import { expect } from 'vitest';
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const BODIES: Readonly<Record<string, readonly [lines: readonly string[], body: string]>> = {
  'cl-te': [['Content-Length: 4', 'Transfer-Encoding: chunked'], '0\r\n\r\nINNER'],
  'te-cl': [['Transfer-Encoding: chunked', 'Content-Length: 4'], '5c\r\nINNER\r\n0\r\n\r\n'],
  'two-lengths': [['Content-Length: 0', 'Content-Length: 99'], 'INNER'],
  'list-length': [['Content-Length: 0, 99'], 'INNER'],
  'plus-length': [['Content-Length: +0'], 'INNER'],
  'wrap-length': [['Content-Length: 18446744073709551616'], 'INNER'],
  'te-tab': [['Transfer-Encoding:\tchunked', 'Content-Length: 0'], 'INNER'],
  'te-list': [['Transfer-Encoding: chunked, identity'], '0\r\n\r\nINNER'],
  'te-gzip': [['Transfer-Encoding: gzip, chunked'], '0\r\n\r\nINNER'],
  'te-x': [['Transfer-Encoding: xchunked', 'Content-Length: 0'], 'INNER'],
  'te-two': [['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], '0\r\n\r\nINNER'],
  'te-empty': [['Transfer-Encoding: '], '0\r\n\r\nINNER'],
  'te-space': [['Transfer-Encoding : chunked'], '0\r\n\r\nINNER'],
  'te-fold': [['X: a\r\n Transfer-Encoding: chunked'], '0\r\n\r\nINNER'],
  'te-vt': [['Transfer-Encoding: \vchunked'], '0\r\n\r\nINNER'],
  'te-cr': [['X: a\rTransfer-Encoding: chunked'], '0\r\n\r\nINNER'],
  'te-lf': [['X: a\nTransfer-Encoding: chunked'], '0\r\n\r\nINNER'],
  'te-nul': [['X: a\0Transfer-Encoding: chunked'], '0\r\n\r\nINNER'],
  'chunk-lf': [['Transfer-Encoding: chunked'], '1\nA\n0\n\nINNER'],
  'chunk-ext-lf': [['Transfer-Encoding: chunked'], '1;a\nb\r\nA\r\n0\r\n\r\nINNER'],
  'chunk-ext-cr': [['Transfer-Encoding: chunked'], '1;a\rb\r\nA\r\n0\r\n\r\nINNER'],
  'chunk-plus': [['Transfer-Encoding: chunked'], '+0\r\n\r\nINNER'],
  'chunk-0x': [['Transfer-Encoding: chunked'], '0x0\r\n\r\nINNER'],
  'chunk-under': [['Transfer-Encoding: chunked'], '0_1\r\n\r\nINNER'],
  'chunk-space': [['Transfer-Encoding: chunked'], ' 0\r\n\r\nINNER'],
  'chunk-wrap': [['Transfer-Encoding: chunked'], '10000000000000000\r\n\r\nINNER'],
};
const INNER = 'GET /v1/files/smuggled HTTP/1.1\r\nHost: api.llm.test\r\nX: y\r\n\r\n';

forEachTier('no ambiguous message arrives, and nothing that is hidden in one', async (tier) => {
  await using box = new EgressBox(tier);
  const cases = Object.entries(BODIES).map(([name, [lines, body]]) => [
    name,
    lines,
    body.replace('INNER', INNER),
  ]);
  const result = await box.probe(`
for name, lines, body in json.loads(r'''${JSON.stringify(cases)}'''):
    raw(name, head('POST', '/v1/messages', (OWN, 'Content-Type: application/json', *lines)) + body.encode(), timeout=2)
raw('cl0', head('GET', '/v1/models', (OWN, 'Connection: close', 'Content-Length: ${INNER.length}')) + ${JSON.stringify(INNER)}.encode(), timeout=2)
raw('old', head('GET', '/v1/models', (OWN,)).replace(b'HTTP/1.1', b'HTTP/0.9'))
raw('short', b'GET /v1/models\\r\\n\\r\\n')
control()
`);
  expect(box.received).not.toContain('smuggled HTTP');
  const all = [...Object.keys(BODIES), 'old', 'short'].filter((name) => name !== 'te-tab');
  const attempts = Object.fromEntries(all.map((name) => [name, '400 structural.malformed']));
  box.expectHeld(result, { ...attempts, 'te-tab': '400 ', cl0: '40' });
});
