// Uses names that only look allowed: longer, shorter, the apex of a wildcard, other dots. Source: tinyproxy #627, iron-proxy apex, IDNA dots.
import { AttackBox, expectDenied, expectRefused, forEachTier } from '../support/attack.ts';

const NAMES = [
  'evilapi.example.com',
  'api.example.com.evil.net',
  'example.com',
  'wild.test',
  'evilwild.test',
  'xn--pi-6kc.example.com',
];

forEachTier('names that resemble an allowed one do not exist', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
for name in ${JSON.stringify(NAMES)}: report(name, dns_udp('127.0.0.1', name)[0])
report('api.example.com', dns_udp('127.0.0.1', 'API.Example.com')[0])
`,
    { flags: ['--allow', 'api.example.com', '--allow', '*.wild.test'] },
  );
  expectRefused(result, NAMES, ['3']);
  expectRefused(result, ['api.example.com'], ['0']);
  for (const host of NAMES.slice(0, 5)) expectDenied(box, { host, entry: 'dns' });
});
