// Writes the CONNECT line so that two readers see two hosts. Source: SOCKS5/CONNECT NUL (Claude Code 2.0.24-2.1.89), CVE-2022-29188, CVE-2022-24825.
import {
  AttackBox,
  CanaryService,
  expectDenied,
  forEachTier,
  hostLoopbackPolicy,
} from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('odd forms of CONNECT reach nothing', async (tier) => {
  using box = new AttackBox(tier);
  await using service = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  box.policy(hostLoopbackPolicy(service.port, 'tcp'));
  const result = await box.python(`
port = ${service.port}
forms = [b'127.0.0.1\\0.host-loopback:%d', b'127.0.0.1%%00host-loopback:%d', b'127.0.0.1:%d@host-loopback', b'host-loopback@127.0.0.1:%d', b'[host-loopback]:%d',
    b'127.0.0.1:%d#host-loopback', b'http://127.0.0.1:%d/', b'127.0.0.1:%d host-loopback', b'127.1:%d', b'0x7f.1:%d', b'127.0.0.1.:%d', b'host-loopback.evil:%d', b'host-loopback:0%d', b'host-loopback\\t:%d', b'localhost:%d', b'[::ffff:7f00:1]:%d', b'*:%d']
for form in forms:
    authority = form % port
    try: answer = connect_by_proxy(authority, b'GET / HTTP/1.0\\r\\n\\r\\n')
    except OSError as error: answer = reason(error).encode()
    report(ascii(form), answer.split(b'\\r\\n')[0].decode('latin1'))
`);
  expect(result.stdout.trim().split('\n')).toHaveLength(17);
  expect(result.stdout).not.toMatch(/ 200 /);
  expect(service.connections).toBe(0);
  expectDenied(box, { entry: 'http-proxy', rule: 'structural.malformed' });
});
