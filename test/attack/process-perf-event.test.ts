// Opens hardware counters and trace points. Source: perf_event_open(2); CVE-2023-5717; side channels.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('perf_event_open is refused', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
attempt('own', lambda: syscall('perf_event_open', struct.pack('IIQ', 1, 112, 0) + bytes(96), 0, -1, -1, 0))
attempt('init', lambda: syscall('perf_event_open', struct.pack('IIQ', 0, 112, 0) + bytes(96), 1, -1, -1, 0))
`);
  expectRefused(result, ['own', 'init'], ['EPERM']);
  expectRecorded(box);
});
