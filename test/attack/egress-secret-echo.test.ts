// An origin says the secret back: in headers, in bodies, packed, in pieces. Source: dust #26828; EGRESS K34.
import { expect } from 'vitest';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('no spelling of the secret comes back', async (tier) => {
  await using box = new EgressBox(tier, {
    llm: { preset: undefined, paths: ['/**'] },
    script: (request, response) => {
      const { secret } = box;
      const data = Buffer.from(secret);
      const forms: Record<string, () => void> = {
        plain: () => void response.end(`<${secret}>`),
        json: () => void response.end(JSON.stringify({ key: secret })),
        base64: () => void response.end(data.toString('base64')),
        shifted: () => void response.end(Buffer.from(`u:${secret}`).toString('base64')),
        hex: () => void response.end(data.toString('hex')),
        gzip: () => void response.setHeader('Content-Encoding', 'gzip').end(gzipSync(data)),
        deflate: () => void response.setHeader('Content-Encoding', 'deflate').end(deflateSync(data)),
        br: () => void response.setHeader('Content-Encoding', 'br').end(brotliCompressSync(data)),
        twice: () => void response.setHeader('Content-Encoding', 'gzip, gzip').end(gzipSync(gzipSync(data))),
        header: () => void response.setHeader('X-Echo', secret).end('x'),
        cookie: () => void response.setHeader('Set-Cookie', `k=${secret}; Path=/`).end('x'),
        location: () => void response.writeHead(302, { Location: `/?k=${secret}` }).end(),
        phrase: () => void response.writeHead(200, secret).end('x'),
        name: () => void response.setHeader(secret, 'x').end('x'),
        trailer: () => {
          response.writeHead(200, { Trailer: 'X-Echo' });
          response.addTrailers({ 'X-Echo': secret });
          response.end('x');
        },
        error: () => void response.writeHead(500).end(`key ${secret} is wrong`),
        pieces: () => {
          let at = 0;
          const next = (): void => {
            if (at === secret.length) return void response.end();
            response.write(secret.slice(at, at + 7));
            at = Math.min(secret.length, at + 7);
            setTimeout(next, 2);
          };
          next();
        },
        'head-only': () => void response.setHeader('X-Echo', secret).end(),
        'not-modified': () => void response.writeHead(304, { ETag: `"${secret}"` }).end(),
        empty: () => void response.writeHead(204, { 'X-Echo': secret }).end(),
        interim: () => {
          response.socket?.write(`HTTP/1.1 103 Early Hints\r\nLink: </${secret}>\r\n\r\n`);
          response.end('x');
        },
      };
      const form = forms[request.url.slice(3)];
      if (form === undefined) response.end('the origin');
      else form();
    },
  });
  const names =
    'plain json base64 shifted hex gzip deflate br twice header cookie location phrase name trailer error pieces head-only not-modified empty interim';
  const result = await box.probe(`
for name in '${names}'.split():
    try:
        with secure() as link:
            link.sendall(head('HEAD' if name == 'head-only' else 'GET', f'/e/{name}', (OWN, 'Connection: close', 'Accept-Encoding: gzip, br')))
            answer = drain(link)
            report(name, answer.hex())
    except OSError as error: report(name, reason(error))
control()
`);
  const seen = outcomes(result);
  expect(seen['control']).toMatch(/^200 .*the origin/);
  expect(box.arrived.filter((one) => one.headers['x-api-key'] === box.secret)).toHaveLength(
    names.split(' ').length + 1,
  );
  const data = Buffer.from(box.secret);
  const core = [
    box.secret,
    data.toString('base64').slice(4, -4),
    data.toString('hex'),
    gzipSync(data).toString('latin1').slice(12, 40),
  ];
  for (const name of names.split(' ')) {
    const answer = Buffer.from(seen[name] ?? '', 'hex').toString('latin1');
    expect([name, answer.slice(0, 9)]).toEqual([name, 'HTTP/1.1 ']);
    for (const text of core) expect([name, answer]).toEqual([name, expect.not.stringContaining(text)]);
    expect([name, answer.toLowerCase()]).toEqual([
      name,
      expect.not.stringContaining(box.secret.slice(13, 45)),
    ]);
  }
});
