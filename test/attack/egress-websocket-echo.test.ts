// The secret comes back through a WebSocket: the subprotocol that the origin selects, a header of its 101, its frames. Source: ws picks the first subprotocol.
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

for (const mode of ['allow', 'inspect'])
  forEachTier(`a WebSocket (${mode}) says no secret back`, async (tier) => {
    await using box = new EgressBox(tier, {
      allow: [{ id: 'ws', host: 'ws.wild.test', paths: ['/**'], websocket: mode, credential: 'WS' }],
      credentials: { WS: { from: 'env:WS_KEY', in: ['ws-protocol', 'header:x-api-key'] } },
      env: { WS_KEY: 'ws-real-secret-0123456789abcdefghij' },
      names: { 'ws.wild.test': '93.184.216.40' },
      upgrade: (request, socket) => {
        const { headers, url = '' } = request;
        const offered = (headers['sec-websocket-protocol'] ?? '').split(',');
        const said = String(headers['x-api-key'] ?? offered.at(-1) ?? '').trim();
        const key = createHash('sha1')
          .update(`${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest('base64');
        const more =
          {
            '/protocol': `Sec-WebSocket-Protocol: ${offered[0]?.trim()}\r\n`,
            '/header': `X-Echo: ${said}\r\n`,
          }[url] ?? '';
        const frame = (text: string, first = 0x81): Buffer =>
          Buffer.concat([Buffer.from([first, text.length]), Buffer.from(text)]);
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n${more}\r\n`,
        );
        if (url === '/frame') socket.write(frame(`you are ${said}`));
        if (url === '/split')
          socket.write(Buffer.concat([frame(said.slice(0, 40), 0x01), frame(said.slice(40), 0x80)]));
        setTimeout(() => socket.end(), 300);
      },
    });
    const result = await box.probe(`
WS, KEY = 'ws.wild.test', os.environ['WS_KEY']
UP = ('Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: ' + base64.b64encode(b'k' * 16).decode())
def speak(name, target, line):
    with secure(WS, timeout=3) as link:
        link.sendall(head('GET', target, (*UP, line), WS))
        report(name, drain(link).hex())
for target in ('/protocol', '/header', '/frame', '/split'):
    speak('p' + target, target, f'Sec-WebSocket-Protocol: openai-insecure-api-key.{KEY}')
    speak('h' + target, target, f'x-api-key: {KEY}')
control()
`);
    const seen = outcomes(result);
    expect(seen['control'], result.stderr).toMatch(/^200/);
    expect(box.received).toContain('ws-real-secret-0123456789abcdefghij');
    const said = Object.entries(seen).filter(
      ([name, hex]) =>
        name !== 'control' && Buffer.from(hex, 'hex').toString('latin1').includes('real-secret-0123456789'),
    );
    expect(said.map(([name]) => name)).toEqual([]);
  });
