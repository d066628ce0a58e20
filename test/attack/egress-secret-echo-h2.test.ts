// The echo over HTTP/2: bodies in many frames, packed, and heads; both kinds of client of one rule. Source: EGRESS K34; secret-echo over HTTP/1.
import { gzipSync } from 'node:zlib';
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('an HTTP/2 client gets no secret back either', async (tier) => {
  await using box = new EgressBox(tier, {
    llm: { preset: undefined, paths: ['/**'], http2: true },
    script: (request, response) => {
      const key = String(request.headers['x-api-key']);
      if (request.url === '/e/gzip')
        return void response.setHeader('Content-Encoding', 'gzip').end(gzipSync(`echo ${key}`));
      if (request.url === '/e/head') return void response.setHeader('X-Echo', key).end('echo');
      if (request.url !== '/e/pieces')
        return void response.end(request.url.startsWith('/e/') ? `echo ${key}` : 'the origin');
      for (const letter of `echo ${key}`) response.write(letter);
      response.end();
    },
  });
  const result = await box.probe(`
link = H2()
names = ('plain', 'gzip', 'pieces', 'head')
streams = [link.request(h2_fields('GET', f'/e/{name}', (OWN,))) for name in names]
for name, answer in zip(names, link.read(*streams)): report(name, answer)
control()
`);
  const seen = outcomes(result);
  for (const name of ['plain', 'gzip', 'pieces', 'head'])
    expect([name, seen[name]]).toEqual([name, expect.stringContaining('200 echo')]);
  expect(seen['control']).toMatch(/^200 .*the origin/);
  expect(box.arrived.filter((one) => one.headers['x-api-key'] === box.secret)).toHaveLength(5);
  expect(result.stdout).not.toContain(box.secret.slice(13, 40));
});
