// Small bodies that are slow to look into: marks to be ordered, runs to be compared, heads that share one broken stream. Source: CWE-407; found here.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

/** Before the gateway bounded them each took from ten seconds to hours; the rest is room for slow machines. */
const MOST_MS = 6_000;

forEachTier('no body of a megabyte stops the gateway', async (tier) => {
  await using box = new EgressBox(tier, { dlp: true });
  const result = await box.probe(`
import zlib
def timed(name, **how):
    begin = time.monotonic()
    ask('asked-' + name, **how)
    report(name, int((time.monotonic() - begin) * 1000))
marks = '{"a' + '\\u0301\\u0323' * 250000 + '":1}'
timed('marks', body=marks.encode())
timed('value', body=('{"tools":[{"type":"' + 'a\\u0301\\u0323' * 150000 + '"}]}').encode())
def runs(magic): return b' '.join(base64.b64encode(magic + struct.pack('>II', at, at)) for at in range(40000))
timed('zlib-runs', host=OTHER, target='/', lines=(), body=runs(b'x\\x9c\\0\\0'))
timed('opaque-runs', host=OTHER, target='/', lines=(), body=runs(b'\\x28\\xb5\\x2f\\xfd'))
packer = zlib.compressobj(9, zlib.DEFLATED, -15)
broken = packer.compress(bytes(3900000)) + packer.flush(zlib.Z_SYNC_FLUSH) + b'\\x07\\0\\0'
heads = b''.join(b'PK\\3\\4' + struct.pack('<HHHHHIIIHH', 20, 0, 8, 0, 0, 0, 0, 0, 1, (1999 - at) * 31) + b'a' for at in range(2000))
timed('zip-heads', host=OTHER, target='/', lines=(), body=heads + broken)
def bytewise():
    body = b'{"a":"' + b'x' * 100000 + b'"}'
    with secure() as link:
        link.sendall(head('POST', '/v1/messages', (OWN, 'Content-Type: application/json', f'Content-Length: {len(body)}', 'Connection: close')))
        for at in range(len(body)): link.send(body[at:at + 1])
        return verdict(drain(link))
report('bytes', bytewise()[:3])
control()
`);
  const seen = outcomes(result);
  expect(seen['control'], result.stderr).toMatch(/^200/);
  expect(seen['bytes']).toBe('200');
  for (const name of ['marks', 'value', 'zlib-runs', 'opaque-runs', 'zip-heads']) {
    expect([name, Number(seen[name])]).toEqual([name, expect.any(Number)]);
    expect(Number(seen[name]), name).toBeLessThan(MOST_MS);
    expect([name, seen[`asked-${name}`]]).toEqual([name, expect.stringMatching(/^(?:200|40[03]|413)/)]);
  }
});
