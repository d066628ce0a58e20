// A credential for some paths of a host whose rule is for all of them. Source: EGRESS K rows; CVE-2021-29492.
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';
import { expect } from 'vitest';

const TARGETS = [
  '/org/../admin',
  '/org/%2e%2e/admin',
  '/org/..%2fadmin',
  '/org/..;/admin',
  '/org//../../admin',
  '/org\\..\\..\\admin',
  '/org/x/%2E%2E/../admin',
  '/admin',
  '/ORG/x',
  '/org',
  '/orgx/a',
  '//org/x',
  '/%6frg/x',
  '/one/a%2Fadmin',
  '/one/a%2fadmin',
];

forEachTier('a credential of some paths is put into no other', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'forge', host: 'forge.wild.test', tls: 'inspect', credentials: ['GH'] }],
    credentials: {
      GH: { from: 'env:GH_TOKEN', bearer: true, hosts: ['forge.wild.test'], paths: ['/org/**', '/one/*'] },
    },
    env: { GH_TOKEN: 'ghp_realrealrealrealrealrealrealreal1234' },
    names: { 'forge.wild.test': '93.184.216.40' },
  });
  const result = await box.probe(`
bearer = ('Authorization: Bearer ' + os.environ['GH_TOKEN'],)
for at, target in enumerate(json.loads(r'''${JSON.stringify(TARGETS)}''')): ask(f'path{at}', 'GET', target, bearer, host='forge.wild.test')
ask('good', 'GET', '/org/repo', bearer, host='forge.wild.test')
control()
`);
  const seen = outcomes(result);
  expect(seen['good']).toMatch(/^200/);
  expect(seen['control']).toMatch(/^200/);
  const withSecret = box.arrived.filter((one) => String(one.headers['authorization']).includes('real'));
  expect(withSecret.map((one) => one.url).filter((url) => url !== '/org')).toEqual(['/org/repo']);
});
