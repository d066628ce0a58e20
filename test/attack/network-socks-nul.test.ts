// Puts a NUL into a SOCKS5 name: the filter sees one host, the resolver another. Source: Claude Code 2.0.24-2.1.89, no CVE.
import {
  AttackBox,
  CanaryService,
  expectDenied,
  forEachTier,
  hostLoopbackPolicy,
} from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('a SOCKS name with foreign bytes is refused', async (tier) => {
  using box = new AttackBox(tier);
  await using service = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  box.policy(hostLoopbackPolicy(service.port, 'tcp'));
  const result = await box.python(`
for name in (b'127.0.0.1\\0.host-loopback', b'localhost\\0host-loopback', b'host-loopback\\n', b'127.0.0.1', b'\\xff\\xfe', b'', b'host-loopback/../x'):
    with socket.create_connection(port_in('all_proxy'), 5) as link:
        link.sendall(b'\\5\\1\\0'); link.recv(2)
        link.sendall(b'\\5\\1\\0\\3' + bytes([len(name)]) + name + struct.pack('>H', ${service.port}))
        try: answer = link.recv(64)
        except OSError: answer = b''
        report(ascii(name), answer[1:2] == b'\\0')
`);
  expect(result.stdout.match(/=False/g)).toHaveLength(7);
  expect(service.connections).toBe(0);
  expectDenied(box, { entry: 'socks', rule: 'structural.malformed' });
});
