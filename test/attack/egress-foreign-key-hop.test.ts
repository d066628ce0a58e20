// The attacker's key where a proxy takes it away or a parser merges it: hop-by-hop headers and trailers. Source: RFC 9110 §6.5, §7.6.1.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('a foreign key in a trailer or a hop-by-hop header never arrives', async (tier) => {
  await using box = new EgressBox(tier);
  const result = await box.probe(`
chunked = head('POST', '/v1/messages', (OWN, 'Connection: close', 'Transfer-Encoding: chunked', 'Trailer: x-api-key'))
raw('trailer', chunked + b'2\\r\\n{}\\r\\n0\\r\\nx-api-key: ' + FOREIGN.encode() + b'\\r\\nAuthorization: Bearer ' + FOREIGN.encode() + b'\\r\\n\\r\\n')
ask('proxy', lines=(OWN, 'Proxy-Authorization: Basic ' + FOREIGN), body='{}')
ask('takes-away', lines=(OWN, 'Connection: x-api-key'), body='{}')
ask('names', lines=(OWN, 'Connection: x-evil', 'X-Evil: ' + FOREIGN), body='{}')
control()
`);
  const seen = outcomes(result);
  expect(seen['takes-away']).toMatch(/^400 structural.malformed/);
  expect(seen['control']).toMatch(/^200 /);
  expect(box.received).not.toContain('AttackerOwnKey');
  for (const one of box.arrived) expect(one.headers['x-api-key']).toBe(box.secret);
});
