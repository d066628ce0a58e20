import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { openAudit } from '../../src/audit/writer.ts';
import type { AuditEvent } from '../../src/audit/contract.ts';

// Appends records to an audit log. Arguments: state directory, count, `each` (wait for every record) | `queued` (wait for the
// last), and the moment to begin in milliseconds since the epoch. Prints the moment of the last record.

const [stateDir = '', count = '0', mode = 'each', beginAt = '0'] = process.argv.slice(2);

const event: AuditEvent = {
  kind: 'run.command',
  sandbox: 'sbx_benchmark',
  data: { argv: ['/bin/bash', '-c', 'npm test'], cwd: '/home/user/project' },
};

const audit = openAudit({ stateDir });
await sleep(Math.max(0, Number(beginAt) - Date.now()));
const began = performance.timeOrigin + performance.now();
const writes: Promise<void>[] = [];
for (let i = 0; i < Number(count); i++) {
  const written = audit.write(event);
  if (mode === 'each') await written;
  else writes.push(written);
}
await Promise.all(writes);
const ended = performance.timeOrigin + performance.now();
await audit.close();
process.stdout.write(`${JSON.stringify({ began, ended })}\n`);
