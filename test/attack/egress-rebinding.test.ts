// A resolver that says a public address first and an inner one later. Source: crabbox #912; DNS rebinding.
import { expect } from 'vitest';
import { expectDenied, forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox, LLM, OTHER } from '../support/egress-box.ts';

forEachTier('every connection is resolved and vetted anew', async (tier) => {
  const later = [
    '169.254.169.254',
    '127.0.0.1',
    '10.0.0.1',
    '::ffff:169.254.169.254',
    '168.63.129.16',
    '64:ff9b::a9fe:a9fe',
  ];
  let turn = 0;
  await using box = new EgressBox(tier, {
    names: { [OTHER]: () => (turn++ === 0 ? '93.184.216.35' : (later[turn - 2] ?? '0.0.0.0')) },
    script: (_, response) => void response.setHeader('Connection', 'close').end('the origin'),
  });
  const result = await box.probe(`
for at in range(${later.length + 2}): ask(f'get{at}', 'GET', '/', (), host=OTHER)
control()
`);
  const seen = outcomes(result);
  expect(seen['get0']).toMatch(/^200 /);
  for (let at = 1; at <= later.length; at++)
    expect([at, seen[`get${at}`]]).toEqual([at, expect.stringMatching(/^403 structural\./)]);
  expect(seen['control']).toMatch(/^200 /);
  expect(new Set(box.dialled)).toEqual(new Set(['93.184.216.35', '93.184.216.34']));
  expectDenied(box, { host: OTHER, rule: 'structural.metadata' });
  expect(box.asked).toContain(LLM);
});
