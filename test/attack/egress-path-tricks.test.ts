// Spellings of a refused path. Source: CVE-2021-29492, CVE-2021-32779, CVE-2026-73551 (Envoy); nono #528; EGRESS A rows.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const TARGETS = [
  '/v1/files',
  '/v1/files/',
  '/v1/files/abc',
  '/V1/Files',
  '/v1/FILES/abc',
  '/v1/%66iles',
  '/v1/%2566iles',
  '/v1%2ffiles',
  '/v1%2Ffiles',
  '//v1/files',
  '/v1//files',
  '/v1/./files',
  '/v1/x/../files',
  '/v1/x/..%2ffiles',
  '/v1/x/%2e%2e/files',
  '/v1/..;/v1/files',
  '/v1;/files',
  '/v1/files;x=1',
  '/v1/files%3bx=1',
  '/v1/files%00',
  '/v1/files%20',
  '/v1/files?a',
  '/v1/files#a',
  '/v1/files%23',
  '/v1\\files',
  '/v1%5cfiles',
  '/v1/f%c0%afiles',
  '/v1/%c0%ae%c0%ae/files',
  '/v1/%u0066iles',
  '/v1/fi%6Ces',
  '/v1/\uff46iles',
  '/v1/%EF%BD%86iles',
  '/v1/files%2f..%2fmodels',
  '/v1/models/../files',
  '/v1/files.',
  '/v1/files%09',
  '/v1/files\t',
];

forEachTier('no spelling of a refused path passes where everything else does', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'open', host: 'open.wild.test', refuse: [{ path: '/v1/files/**' }] }],
    names: { 'open.wild.test': '93.184.216.40' },
  });
  const result = await box.probe(`
for at, target in enumerate(json.loads(r'''${JSON.stringify(TARGETS)}''')):
    raw(f'path{at}', head('GET', '/', ('Connection: close',), 'open.wild.test').replace(b'GET /', b'GET ' + target.encode(), 1), 'open.wild.test')
ask('good', 'GET', '/v1/filesystem', (), host='open.wild.test')
control()
`);
  const seen = outcomes(result);
  expect(seen['good']).toMatch(/^200/);
  const wrong = TARGETS.filter((_, at) => !/^40[03] (?:open|structural)/.test(seen[`path${at}`] ?? ''));
  // A dot or a space at the end is another name for every origin that is not Windows.
  expect(wrong.filter((target) => !['/v1/files.', '/v1/files%20', '/v1/files%23'].includes(target))).toEqual(
    [],
  );
  expect(box.refusals().length).toBeGreaterThanOrEqual(TARGETS.length - 3);
});
