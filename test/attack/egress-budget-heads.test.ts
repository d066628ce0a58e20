// A budget of bytes, and everything sent in heads instead of bodies. Source: EGRESS B rows (a budget bounds what leaves, however it is carried).
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('what leaves in paths and headers counts as upload', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'small', host: 'small.wild.test', paths: ['/**'], budget: { upload: '20KiB' } }],
    names: { 'small.wild.test': '93.184.216.40' },
  });
  const result = await box.probe(`
SMALL = 'small.wild.test'
for at in range(8): ask(f'header{at}', 'GET', '/', ('X-Data: ' + 'd' * 6000,), host=SMALL)
ask('path', 'GET', '/' + 'p' * 6000, (), host=SMALL)
ask('query', 'GET', '/?' + 'q' * 6000, (), host=SMALL)
control()
`);
  const seen = outcomes(result);
  expect(seen['control'], result.stderr).toMatch(/^200/);
  expect(seen['header0']).toMatch(/^200/);
  for (const name of ['header7', 'path', 'query'])
    expect([name, seen[name]]).toEqual([name, expect.stringMatching(/^(413|429) small\.budget\.upload/)]);
  const sent = box.arrived.filter(({ url }) => url !== '/v1/messages');
  expect(JSON.stringify(sent.map(({ url, headers }) => [url, headers])).length).toBeLessThan(24_000);
});
