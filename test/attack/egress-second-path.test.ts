// A header that names another path than the one that is judged. Source: RFC 4918 §10.3; S3 CopyObject; Azure Copy Blob; Swift COPY.
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const HEADERS = [
  'X-Amz-Copy-Source: /private/key',
  'x_amz_copy_source: /private/key',
  'x-goog-copy-source: /private/key',
  'X-Ms-Copy-Source: https://evil.attacker.test/blob',
  'x-ms-rename-source: /private/key',
  'X-Copy-From: /private/key',
];

forEachTier('a copy from outside the paths of a rule is refused', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'bucket', host: 'bucket.wild.test', paths: ['/public/**'] }],
    names: { 'bucket.wild.test': '93.184.216.40' },
  });
  const result = await box.probe(`
BUCKET = 'bucket.wild.test'
for at, line in enumerate(${JSON.stringify(HEADERS)}): ask(f'copy{at}', 'PUT', '/public/a', (line,), host=BUCKET)
ask('destination', 'COPY', '/public/a', ('Destination: https://bucket.wild.test/private/b',), host=BUCKET)
ask('move', 'MOVE', '/public/a', ('Destination: /private/b',), host=BUCKET)
control()
`);
  const names = [...HEADERS.map((_, at) => `copy${at}`), 'destination', 'move'];
  box.expectHeld(result, Object.fromEntries(names.map((name) => [name, '403 bucket.paths'])));
});
