// Connects to an abstract unix socket of the host. Source: CVE-2020-15257 (containerd-shim), unix(7): no file, so no mount hides it.
import { expect } from 'vitest';
import { AttackBox, CanaryService, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('abstract sockets of the host are out of reach', async (tier) => {
  using box = new AttackBox(tier);
  await using service = await CanaryService.on({ path: `\0${box.canary}` });
  const result = await box.python(`
attempt('stream', lambda: talk('\\0${box.canary}', b'x', family=socket.AF_UNIX))
report('listed', '${box.canary}' in read_file('/proc/net/unix').decode())
`);
  expectRefused(result, ['stream'], ['ECONNREFUSED', 'EPERM', 'EACCES']);
  expectRefused(result, ['listed'], ['False']);
  expect(service.connections).toBe(0);
  expectRecorded(box);
});
