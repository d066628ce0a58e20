// A secret or token that is written into the path of a request which a rule refuses, so that the record of the refusal carries it to
// whoever reads records. Source: CWE-532.
import { expect } from 'vitest';
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

/** Has the shape of a provider's token and is none. */
const TOKEN = ['ghp_', 'x7Qm2Kp9Vt4Zr8Bn3Hc6', 'Df1Gs5Wy0LaJe2Ui'].join('');

forEachTier('records of refusals repeat no token and no secret', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'narrow', host: 'narrow.wild.test', methods: ['GET'], paths: ['/v1/**'] }],
    names: { 'narrow.wild.test': '93.184.216.41' },
  });
  const result = await box.probe(
    `
import base64
token, narrow = '${TOKEN}', 'narrow.wild.test'
coded = base64.urlsafe_b64encode(token.encode()).decode().rstrip('=')
ask('path', 'GET', f'/v2/{token}', (), host=narrow)
ask('method', 'POST', f'/v1/{token}', (), 'x', narrow)
ask('coded', 'GET', f'/v2/{coded}', (), host=narrow)
ask('percent', 'GET', '/v2/' + ''.join(f'%{ord(c):02x}' for c in token), (), host=narrow)
ask('deep', 'GET', '/v2/' + 'a/' * 52 + token, (), host=narrow)
ask('query', 'GET', f'/v2/x?{token}=1', (), host=narrow)
ask('verb', 'AKIAQ7XW2M4N6P3R5T2V', '/v1/x', (), host=narrow)
ask('own', 'GET', f'/files/{token}')
ask('plain', 'GET', '/v2/ordinary', (), host=narrow)
control()
`,
  );
  box.expectHeld(result, {
    path: '403 narrow.paths',
    method: '405 narrow.methods',
    coded: '403 narrow.paths',
    percent: '40',
    deep: '403 narrow.paths',
    query: '403 narrow.paths',
    verb: '405 structural.method',
    own: '40',
    plain: '403 narrow.paths',
  });
  const text = JSON.stringify(box.records());
  const coded = Buffer.from(TOKEN).toString('base64url');
  const percent = Buffer.from(TOKEN).toString('hex').replaceAll(/../g, '%$&');
  for (const value of [TOKEN, TOKEN.slice(0, 16), coded, coded.slice(0, 20), percent, 'AKIAQ7XW2M4N6P3R5T2V'])
    expect(text).not.toContain(value);
  expect(text).toContain('/v2/ordinary');
});
