// Requests whose parts look like records, terminal codes or markup. Source: CWE-117; network-log-injection.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('what a request says stays one field of one record, in printable ASCII', async (tier) => {
  await using box = new EgressBox(tier);
  const result = await box.probe(`
evil = '"},{"kind":"forged","data":{"action":"allow'
ask('path', 'GET', '/a%0a%1b[2J', (), host=OTHER)
ask('json', 'GET', '/' + evil.replace(' ', ''), (), host=OTHER)
ask('query', 'GET', '/?%0a%1b[2J=1&' + evil.replace(' ', '') + '=1', (), host=OTHER)
raw('method', b'G\\x1b[2J / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n', OTHER)
raw('high', 'GET /é\\u2028 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'.encode(), OTHER)
raw('host', head('GET', '/', (), 'x\\x1b[2J'), OTHER)
raw('long', head('GET', '/' + 'a' * 20000, (), OTHER), OTHER)
raw('type', head('POST', '/v1/messages', (OWN, 'Content-Type: a\\x9b2Jb', 'Content-Length: 0')))
ask('kind', body='{}', lines=(OWN, 'Content-Type: application/json; x="' + 'y' * 90 + '"'))
control()
`);
  expect(outcomes(result)['control']).toMatch(/^200/);
  const records = box.records();
  expect(records.map((record) => record.kind)).not.toContain('forged');
  for (const record of records.filter(({ kind }) => kind.startsWith('network.'))) {
    const texts = Object.values(record.data).flat().map(String);
    for (const text of texts) expect(text).toMatch(/^[ -~]*$/);
    expect(Math.max(...texts.map((text) => text.length))).toBeLessThanOrEqual(1200);
  }
  expect(result.stdout).not.toContain('\u001b');
});
