// A refused method in a header that origins take for the method. Source: Sealroom; EGRESS Q13, Q21.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const HEADERS = [
  'X-HTTP-Method-Override',
  'X-HTTP-Method',
  'X-Method-Override',
  'X_HTTP_Method_Override',
  'x-http-method-override',
];

forEachTier('a rule for reading is not opened by an override of the method', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'read', host: 'read.wild.test', methods: ['GET'], paths: ['/repos/**'] }],
    names: { 'read.wild.test': '93.184.216.40' },
  });
  const result = await box.probe(`
READ = 'read.wild.test'
for at, name in enumerate(${JSON.stringify(HEADERS)}): ask(f'header{at}', 'GET', '/repos/a', (f'{name}: DELETE',), host=READ)
ask('query', 'GET', '/repos/a?_method=DELETE', (), host=READ)
for name in ('DELETE', 'POST', 'TRACE', 'get', 'GETX', 'PURGE', 'M-SEARCH'): ask(f'method-{name}', name, '/repos/a', (), host=READ)
ask('body', 'GET', '/repos/a', (), body='an upload', host=READ)
ask('good', 'GET', '/repos/a', (), host=READ)
control()
`);
  const seen = outcomes(result);
  expect(seen['good']).toMatch(/^200/);
  for (const name of ['DELETE', 'POST', 'TRACE', 'get', 'GETX', 'PURGE', 'M-SEARCH'])
    expect([name, seen[`method-${name}`]]).toEqual([
      name,
      expect.stringMatching(/^40[035] (?:read|structural)/),
    ]);
  for (const one of box.arrived.filter((request) => request.method === 'GET'))
    expect(
      Object.keys(one.headers).filter((name) => /method/.test(name)),
      one.url,
    ).toEqual([]);
});
