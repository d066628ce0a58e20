// Messages that never end, on many connections at once. Source: CWE-770 (allocation without limits); RFC 6455 §10.4.
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { forEachTier, isMachine, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const MIB = 1_048_576;

forEachTier('parts of messages stay within the room for bodies', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'ws', host: 'ws.wild.test', paths: ['/**'], websocket: 'inspect' }],
    names: { 'ws.wild.test': '93.184.216.40' },
    upgrade: (request, socket) => {
      const key = `${String(request.headers['sec-websocket-key'])}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
      const accept = createHash('sha1').update(key).digest('base64');
      const lines = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines}`);
      socket.on('error', () => undefined).resume();
    },
  });
  // More than the bound on memory either way; an emulated processor encrypts a few megabytes a second.
  const messages = isMachine(tier) ? 14 : 30;
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().arrayBuffers)), 50);
  try {
    const result = await box.probe(`
lines = ('Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: ' + base64.b64encode(bytes(16)).decode())
size = 15 << 20
links, cut = [], 0
for _ in range(${messages}):
    link = secure('ws.wild.test', timeout=20)
    link.sendall(head('GET', '/', lines, 'ws.wild.test'))
    assert link.recv(4096).startswith(b'HTTP/1.1 101')
    try: link.sendall(b'\\x02\\xff' + struct.pack('>Q', size) + bytes(4) + bytes(size - 1))
    except OSError: cut += 1
    links.append(link)
time.sleep(1)
report('opened', len(links))
`);
    expect(outcomes(result)['opened'], result.stderr).toBe(`${messages}`);
    const refusals = box.records().filter(({ data }) => data['rule'] === 'structural.websocket');
    expect(refusals.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['network.verdict', 'network.request']),
    );
    expect(Math.round((most - before) / MIB)).toBeLessThan(160);
  } finally {
    clearInterval(timer);
  }
});
