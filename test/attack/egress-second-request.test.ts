// The first request on a connection is honest, the second is not. Source: Sealroom; EGRESS P49, G06.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('the hundredth request of a connection is judged like the first', async (tier) => {
  await using box = new EgressBox(tier);
  const result = await box.probe(`
kind = 'Content-Type: application/json'
good = head('POST', '/v1/messages', (OWN, kind), LLM, b'{}')
evil = head('POST', '/v1/messages', (f'x-api-key: {FOREIGN}', kind), LLM, b'{"evil":1}')
upload = head('POST', '/v1/files', (OWN, kind), LLM, b'{"evil":1}')
other = head('POST', '/v1/messages', (OWN, kind), OTHER, b'{"evil":1}')
for name, second in (('foreign', evil), ('upload', upload), ('host', other)):
    for how in ('pipelined', 'after'):
        with secure(timeout=3) as link:
            link.sendall(good + second if how == 'pipelined' else good)
            first = b''
            while b'the origin' not in first and (chunk := link.recv(4096)): first += chunk
            if how == 'after': link.sendall(second)
            rest = (first.partition(b'the origin')[2] + drain(link)).lstrip(b'0\\r\\n')
        report(f'{name}-{how}', verdict(first)[:3] + ' then ' + verdict(rest))
control()
`);
  const seen = outcomes(result);
  for (const how of ['pipelined', 'after']) {
    expect(seen[`foreign-${how}`]).toBe('200 then 403 structural.pin.foreign');
    expect(seen[`upload-${how}`]).toMatch(/^200 then 403 llm\.refuse/);
    expect(seen[`host-${how}`]).toBe('200 then 421 structural.host-mismatch');
  }
  expect(box.received).not.toContain('evil');
  expect(box.arrived).toHaveLength(7);
  expect(box.refusals()).toHaveLength(6);
});
