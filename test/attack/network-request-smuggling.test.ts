// Hides a second request in the body of a first. Source: CVE-2022-32213 (Node), CVE-2021-39214 (mitmproxy), CVE-2025-22871 (Go).
import {
  AttackBox,
  CanaryService,
  forEachTier,
  hostLoopbackPolicy,
  expectRecorded,
} from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('requests that two parsers read differently never arrive', async (tier) => {
  using box = new AttackBox(tier);
  await using service = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  box.policy(hostLoopbackPolicy(service.port, 'http'));
  const result = await box.python(`
host = 'Host: host-loopback:${service.port}\\r\\n'
smuggled = 'GET /smuggled HTTP/1.1\\r\\nHost: evil\\r\\n\\r\\n'
cases = dict(
    both=f'Content-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n{smuggled}',
    two=f'Content-Length: 0\\r\\nContent-Length: {len(smuggled)}\\r\\n\\r\\n{smuggled}',
    odd=f'Transfer-Encoding: xchunked\\r\\nContent-Length: 0\\r\\n\\r\\n{smuggled}',
    space=f'Content-Length : {len(smuggled)}\\r\\n\\r\\n{smuggled}',
    fold=f'X: a\\r\\n Transfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n{smuggled}',
    bare=f'Transfer-Encoding: chunked\\r\\n\\r\\n1\\nA\\n0\\n\\n{smuggled}',
)
for name, rest in cases.items():
    try: answer = talk(('host-loopback', ${service.port}), f'POST /a HTTP/1.1\\r\\n{host}{rest}'.encode(), 2)
    except OSError as error: answer = reason(error).encode()
    report(name, answer[:12].decode())
`);
  expect(result.stdout.trim().split('\n'), result.stderr).toHaveLength(6);
  expect(service.received).not.toContain('GET /smuggled');
  expectRecorded(box);
});
