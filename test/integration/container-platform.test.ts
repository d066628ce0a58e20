import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, inject, it } from 'vitest';
import { findRunsc } from '../../src/drivers/gvisor/index.ts';
import { expectDenied, PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';

const missing = inject('guestMissing');
const TIER = ['--tier', 'container'] as const;

/** Everything that a platform has to do for a program: processes, threads, signals, pipes, memory, files, the way out. */
const PROGRAM = `
import os, signal, socket, subprocess, threading
lines = []
def work(n): lines.append(subprocess.run(['sh', '-c', f'echo {n} | cat'], capture_output=True, text=True).stdout.strip())
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(lines))
signal.signal(signal.SIGALRM, lambda *_: print('alarm'))
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
child = os.fork()
if child == 0: os.kill(os.getpid(), signal.SIGKILL)
print(os.waitpid(child, 0)[1])
open('made', 'wb').write(bytes(range(256)) * 4096)
print(os.path.getsize('made'))
try: socket.create_connection(('203.0.113.7', 443), 5).recv(10)
except ConnectionResetError: print('refused')
`;

describe.skipIf(missing !== undefined)(
  `the platform of a guest kernel${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    it('is the next one where the first does not work, and runs programs on it', async () => {
      using box = new TestBox();
      const env = { GLOVEBOX_RUNSC: withoutSystrap(box) };
      const result = await box.run([PYTHON, '-c', PROGRAM], { flags: TIER, env });
      const said = `['0', '1', '2', '3']\nalarm\n9\n1048576\nrefused\n`;
      expect([result.stdout, result.code], result.stderr).toEqual([said, 0]);
      expectDenied(box, { host: '203.0.113.7', port: 443 });
      expect(findingOf(box)).toContain('"platform":"ptrace"');
    });

    it('is refused by name where only one that does not work was asked for', async () => {
      using box = new TestBox();
      const env = { GLOVEBOX_RUNSC: withoutSystrap(box), GLOVEBOX_GVISOR_PLATFORM: 'systrap' };
      const result = await box.run(['true'], { flags: TIER, env });
      expect(result.code).toBe(125);
      expect(result.stderr).toContain('E_TIER_UNAVAILABLE');
      expect(result.stderr).toContain('systrap:');
    });
  },
);

/** The runsc of this machine, with a platform of that name in it no more. */
function withoutSystrap(box: TestBox): string {
  const file = path.join(box.base, 'runsc');
  const content = readFileSync(findRunsc(process.env, box.workspace)).toString('latin1');
  writeFileSync(file, Buffer.from(content.replaceAll('systrap', 'nothing'), 'latin1'), { mode: 0o755 });
  return file;
}

function findingOf(box: TestBox): string {
  return readFileSync(path.join(box.home, '.cache/glovebox/gvisor-systrap-ptrace'), 'utf8');
}
