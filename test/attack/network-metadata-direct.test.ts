// Asks for credentials without a proxy, by the link-local address. Source: IMDSv1; link-local needs no route in many containers.
import { AttackBox, expectDenied, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('the metadata address gives no answer', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
attempt('v4', lambda: talk(('169.254.169.254', 80), b'GET /latest/meta-data/iam/ HTTP/1.0\\r\\n\\r\\n'))
attempt('ecs', lambda: talk(('169.254.170.2', 80), b'GET /v2/credentials HTTP/1.0\\r\\n\\r\\n'))
`);
  expectRefused(result, ['v4', 'ecs'], ['ECONNRESET', 'ECONNREFUSED', 'ENETUNREACH', 'EPIPE']);
  expectDenied(box, { host: '169.254.169.254', port: 80, rule: 'structural.metadata' });
});
