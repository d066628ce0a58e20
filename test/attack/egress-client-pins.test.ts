// A program that knows the real certificate refuses the sandbox's own. Source: EGRESS P57.
import { expect } from 'vitest';
import { expectDenied, forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox, LLM } from '../support/egress-box.ts';

forEachTier('a client that pins certificates gets nothing, and no tunnel instead', async (tier) => {
  await using box = new EgressBox(tier);
  const result = await box.probe(`
pinned = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
request = head('GET', '/v1/models', (OWN, 'Connection: close'))
for name in ('first', 'second', 'third'): raw(name, request, context=pinned)
# TLS 1.3 lets a client speak before it looks at the certificate.
blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); blind.check_hostname = False; blind.verify_mode = ssl.CERT_NONE
with secure(context=blind) as link: report('issuer', ssl.DER_cert_to_PEM_cert(link.getpeercert(True))[:27])
control()
`);
  const seen = outcomes(result);
  for (const name of ['first', 'second', 'third']) expect(seen[name]).toMatch(/^TLS /);
  box.expectOnlyControl(result);
  expectDenied(box, {
    host: LLM,
    rule: 'structural.tls',
    reason: expect.stringContaining('does not accept'),
  });
  expect(new Set(box.dialled)).toEqual(new Set(['93.184.216.34']));
});
