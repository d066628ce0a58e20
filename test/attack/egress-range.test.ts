// An echo read three bytes at a time, past whoever looks for the whole secret. Source: EGRESS K39; ap_set_byterange of Apache httpd; Azure Get Blob.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('a part of an answer cannot be asked for where answers are scrubbed', async (tier) => {
  await using box = new EgressBox(tier, {
    script: (request, response) => {
      const names = ['range', 'request-range', 'x-ms-range', 'x-unknown-range'];
      const asked = names.map((name) => request.headers[name]).find((value) => value !== undefined);
      const range = /bytes=(\d+)-(\d+)/.exec(String(asked));
      const text = `echo ${String(request.headers['x-api-key'])}`;
      if (range === null) return void response.end(request.method === 'POST' ? 'the origin' : text);
      response.writeHead(206).end(text.slice(Number(range[1]), Number(range[2]) + 1));
    },
  });
  const result = await box.probe(`
got = ''
for at in range(0, 120, 12):
    with secure() as link:
        link.sendall(head('GET', '/v1/models', (OWN, 'Connection: close', f'Range: bytes={at}-{at + 11}', 'If-Range: "x"')))
        got += drain(link).partition(b'\\r\\n\\r\\n')[2].decode('latin-1')
report('got', got.replace('\\r\\n', ''))
for name in ('Request-Range', 'X-MS-Range'):
    ask(name, 'GET', '/v1/models', (OWN, f'{name}: bytes=0-20'))
ask('unknown', 'GET', '/v1/models', (OWN, 'X-Unknown-Range: bytes=0-20'))
ask('multi', 'GET', '/v1/models', (OWN, 'Range: bytes=0-1,3-4'))
ask('look-alike', 'GET', '/v1/models', (OWN, 'Range : bytes=0-1'))
control()
`);
  expect(outcomes(result)['got']).toContain('echo');
  expect(result.stdout).not.toContain(box.secret);
  expect(outcomes(result)['got']).not.toContain(box.secret.slice(13, 40));
  // Whole, and so without the secret.
  expect(outcomes(result)['Request-Range']).toMatch(/^200 .*echo/);
  expect(outcomes(result)['X-MS-Range']).toMatch(/^200 .*echo/);
  expect(outcomes(result)['unknown']).toMatch(/^502 /);
  expect(outcomes(result)['look-alike']).toMatch(/^400 structural.malformed/);
  expect(outcomes(result)['control']).toMatch(/^200/);
  expect(
    box.arrived.filter((one) => one.headers['range'] !== undefined || one.headers['if-range'] !== undefined),
  ).toEqual([]);
});
