// Connects to an address without a name. Source: gh-aw #137; an address needs no resolver, so a DNS filter does not see it.
import { AttackBox, expectDenied, expectRefused, forEachTier } from '../support/attack.ts';

const PLACES = [
  ['203.0.113.7', 443],
  ['203.0.113.8', 80],
  ['203.0.113.9', 22],
  ['2001:db8::7', 443],
] as const;

forEachTier('addresses without a rule are refused with a record', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for host, port in ${JSON.stringify(PLACES)}: attempt(host, lambda: talk((host, port), b'GET / HTTP/1.0\\r\\n\\r\\n'))
attempt('odd port', lambda: talk(('203.0.113.7', 31337), b'x'))
`);
  expectRefused(
    result,
    [...PLACES.map(([host]) => host), 'odd port'],
    ['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ENETUNREACH', 'EACCES', 'EPERM'],
  );
  for (const [host, port] of PLACES.slice(0, 3)) expectDenied(box, { host, port });
});
