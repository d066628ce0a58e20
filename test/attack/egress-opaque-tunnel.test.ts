// An inspected host is asked for as a tunnel of raw bytes, by every entry. Source: srt refuseOpaqueTunnels; EGRESS S37.
import { expect } from 'vitest';
import { expectDenied, forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox, LLM } from '../support/egress-box.ts';

forEachTier('an inspected host is never a tunnel: CONNECT, SOCKS and direct', async (tier) => {
  await using box = new EgressBox(tier);
  const result = await box.probe(`
clear = head('POST', '/v1/messages', (OWN, 'Content-Type: application/json'), LLM, b'{}')
def socks(data):
    with socket.create_connection(('127.0.0.1', 1080), 3) as link:
        name = LLM.encode()
        link.sendall(b'\\x05\\x01\\x00\\x05\\x01\\x00\\x03' + bytes([len(name)]) + name + struct.pack('>H', 443))
        first = b''
        while len(first) < 12 and (chunk := link.recv(4096)): first += chunk
        link.sendall(data)
        return first[12:] + drain(link)
for name, data in (('http', clear), ('bytes', b'\\0\\x01\\x02 raw bytes'), ('ssh', b'SSH-2.0-x\\r\\n'), ('no-name', client_hello(None))):
    attempt(f'direct-{name}', lambda: verdict(talk((LLM, 443), data, 2)))
    attempt(f'connect-{name}', lambda: connect_by_proxy(f'{LLM}:443', data)[-200:])
    attempt(f'socks-{name}', lambda: verdict(socks(data)))
attempt('plain', lambda: verdict(talk(port_in('http_proxy'), clear.replace(b'POST /', b'POST http://' + LLM.encode() + b':443/'), 2)))
attempt('port-80', lambda: verdict(talk((LLM, 80), clear, 2)))
control()
`);
  const seen = outcomes(result);
  for (const [name, outcome] of Object.entries(seen))
    if (name !== 'control')
      expect([name, outcome]).toEqual([name, expect.not.stringContaining('the origin')]);
  expect(Object.keys(seen)).toHaveLength(15);
  box.expectOnlyControl(result);
  for (const entry of ['transparent', 'http-proxy', 'socks'])
    expectDenied(box, { host: LLM, entry, rule: 'structural.tls' });
  expect(box.dialled).toEqual(['93.184.216.34']);
});
