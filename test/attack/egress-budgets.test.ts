// Too many requests, too much upload, too many at once; slow and reset streams. The next sandbox must not feel it. Source: EGRESS B rows; CVE-2023-44487.
import type { ServerResponse } from 'node:http';
import { expect } from 'vitest';
import { forEachTier, outcomes, until } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const AT_ONCE = 'many.limits.concurrency';

forEachTier('budgets hold', async (tier) => {
  const held: ServerResponse[] = [];
  await using box = new EgressBox(tier, {
    allow: [
      { id: 'rate', host: 'rate.wild.test', paths: ['/**'], limits: { requestsPerMinute: 5 } },
      {
        id: 'size',
        host: 'size.wild.test',
        paths: ['/**'],
        limits: { body: '10KiB' },
        budget: { upload: '30KiB' },
      },
      { id: 'many', host: 'many.wild.test', paths: ['/**'], limits: { concurrency: 2 } },
    ],
    names: {
      'rate.wild.test': '93.184.216.41',
      'size.wild.test': '93.184.216.42',
      'many.wild.test': '93.184.216.43',
    },
    script: (request, response) => {
      if (request.headers.host === 'many.wild.test') held.push(response);
      else response.end('the origin');
    },
  });
  const probing = box.probe(`
import threading
for at in range(12): ask(f'rate{at}', 'GET', '/', (), host='rate.wild.test')
ask('size-one', 'POST', '/', (), 'x' * 20000, 'size.wild.test')
raw('size-chunked', head('POST', '/', ('Transfer-Encoding: chunked', 'Connection: close'), 'size.wild.test') + b'4e20\\r\\n' + b'x' * 20000 + b'\\r\\n0\\r\\n\\r\\n', 'size.wild.test')
for at in range(6): ask(f'size{at}', 'POST', '/', (), 'x' * 9000, 'size.wild.test')
many = head('GET', '/', ('Connection: close',), 'many.wild.test')
threads = [threading.Thread(target=raw, args=(f'many{at}', many, 'many.wild.test', 120)) for at in range(6)]
for one in threads: one.start()
for one in threads: one.join()
control()
`);
  const [result] = await Promise.all([probing, answerTogether(box, held)]);
  const seen = outcomes(result);
  const passed = (what: string, count: number): number =>
    Array.from({ length: count }, (_, at) => seen[`${what}${at}`] ?? '').filter((text) =>
      text.startsWith('200'),
    ).length;
  // A fixed window: a minute may turn in between.
  expect(passed('rate', 12)).toBeLessThanOrEqual(10);
  expect(passed('rate', 12)).toBeGreaterThanOrEqual(5);
  expect(seen['rate11']).toMatch(/^429 rate\.limits\.requestsPerMinute|^200/);
  expect(seen['size-one']).toMatch(/^413 size\.limits/);
  expect(seen['size-chunked']).toMatch(/^413 size\.limits/);
  expect(passed('size', 6)).toBeLessThanOrEqual(3);
  expect(seen['size5']).toMatch(/^4\d\d size\.budget\.upload/);
  expect(passed('many', 6)).toBe(2);
  expect(seen['control']).toMatch(/^200/);
  const rules = new Set(box.refusals().map((data) => data['rule']));
  for (const rule of ['size.limits.body', 'size.budget.upload', AT_ONCE]) expect(rules).toContain(rule);
});

/** However slowly they come: none is answered before all six are either here or refused. */
async function answerTogether(box: EgressBox, held: readonly ServerResponse[]): Promise<void> {
  const refused = (): number => box.refusals().filter((data) => data['rule'] === AT_ONCE).length;
  await until(() => held.length > 0 && held.length + refused() >= 6, 'six requests', 150_000);
  for (const response of held) response.end('the origin');
}
