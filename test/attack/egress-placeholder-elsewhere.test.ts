// The placeholder at another host, and where it has no business. Source: right-agent #92; dust #26828; EGRESS K05, K06.
import { expect } from 'vitest';
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier(
  'a placeholder is swapped in its own place at its own host, and refused everywhere else',
  async (tier) => {
    await using box = new EgressBox(tier);
    const result = await box.probe(`
import urllib.parse
P = PLACEHOLDER
for name, lines in (('api-key', (OWN,)), ('bearer', (f'Authorization: Bearer {P}',)), ('agent', (f'User-Agent: {P}',)), ('basic', ('Authorization: Basic ' + base64.b64encode(f'x:{P}'.encode()).decode(),))):
    ask(f'other-{name}', 'GET', '/', lines, host=OTHER)
ask('other-path', 'GET', f'/{P}', (), host=OTHER)
ask('other-query', 'GET', f'/?q={P}', (), host=OTHER)
ask('other-body', host=OTHER, target='/', lines=(), body=f'x={P}')
ask('other-hex', host=OTHER, target='/', lines=(), body=P.encode().hex())
ask('agent', lines=(OWN, f'User-Agent: {P}'), body='{}')
ask('path', 'GET', f'/v1/models/{P}')
ask('query', 'GET', f'/v1/models?x={P}')
ask('prompt', body=json.dumps({'messages': [{'content': P}]}))
ask('twice', lines=(OWN, OWN), body='{}')
ask('wrong-place', lines=(f'Authorization: Bearer {P}',), body='{}')
ask('longer', lines=(OWN + 'x',), body='{}')
ask('two-in-one', lines=(f'{OWN}, {FOREIGN}',), body='{}')
ask('missing', lines=(), body='{}')
control()
`);
    const misplaced = [
      'other-api-key',
      'other-bearer',
      'other-agent',
      'other-basic',
      'other-path',
      'other-query',
      'other-body',
      'other-hex',
      'agent',
      'path',
      'query',
      'prompt',
      'wrong-place',
    ];
    box.expectHeld(result, {
      ...Object.fromEntries(misplaced.map((name) => [name, '403 structural.'])),
      twice: '403 structural.pin.multiple',
      longer: '403 structural.',
      'two-in-one': '403 structural.',
      missing: '403 structural.pin.missing',
    });
    expect(
      box.records().filter((record) => record.kind === 'credential.alarm').length,
    ).toBeGreaterThanOrEqual(misplaced.length - 1);
  },
);
