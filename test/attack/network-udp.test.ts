// Sends UDP: QUIC, NTP, and datagrams to the host. Source: claude-code-action reports of QUIC past an HTTP proxy; udp(7).
import { createSocket } from 'node:dgram';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('no datagram leaves', async (tier) => {
  using box = new AttackBox(tier);
  const listener = createSocket('udp4');
  let received = 0;
  listener.on('message', () => received++);
  await new Promise<void>((resolve) => listener.bind(0, '0.0.0.0', resolve));
  const { port } = listener.address();
  const result = await box.python(`
def udp(host, port):
    with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(0.3)
        link.connect((host, port))
        link.send(b'attack')
        link.recv(100)
for host, port in (('203.0.113.7', 443), ('203.0.113.7', 123), ('2001:db8::7', 443), ('127.0.0.1', ${port}), ('224.0.0.251', 5353)): attempt(f'{host} {port}', lambda: udp(host, port))
`);
  listener.close();
  expectRefused(
    result,
    ['203.0.113.7 443', '203.0.113.7 123', '2001:db8::7 443', `127.0.0.1 ${port}`, '224.0.0.251 5353'],
    ['ECONNREFUSED', 'ETIMEDOUT', 'ENETUNREACH', 'EINVAL', 'EPERM', 'EACCES'],
  );
  expect(received).toBe(0);
  expectRecorded(box);
});
