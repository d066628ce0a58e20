import { setTimeout as sleep } from 'node:timers/promises';
import { GloveboxError } from '../../base/errors.ts';
import type { QmpClient } from './qmp.ts';

/** Between looks at how far QEMU is: it takes some ten milliseconds. */
const LOOK_MS = 2;

/** Memory lies in a file of its own and is not written again (QEMU, docs/devel/migration/features). */
const CAPABILITIES = { capabilities: [{ capability: 'x-ignore-shared', state: true }] };

/**
 * Stops a machine and writes everything but its memory to `file`, a path of QEMU's jail. It is not stopped before: a machine that goes on from there would
 * be stopped too. @throws E_SANDBOX_START
 */
export async function saveState(control: QmpClient, file: string): Promise<void> {
  await control.execute('migrate-set-capabilities', CAPABILITIES);
  await control.execute('migrate', { uri: `file:${file}` });
  for (;;) {
    const status = statusOf(await control.execute('query-migrate'));
    if (status === 'completed') return;
    if (status === 'failed' || status === 'cancelled')
      throw new GloveboxError('E_SANDBOX_START', { what: 'QEMU could not save a machine', why: status });
    await sleep(LOOK_MS);
  }
}

/** Lets a machine that waits go on from what stands in `file` from `offset` on; resolves when it runs. @throws E_SANDBOX_START */
export async function goOn(control: QmpClient, file: string, offset: number): Promise<void> {
  const runs = control.event('RESUME');
  runs.catch(() => undefined);
  await control.execute('migrate-set-capabilities', CAPABILITIES);
  await control.execute('migrate-incoming', { uri: `file:${file},offset=${offset}` });
  await runs;
}

function statusOf(answer: unknown): string {
  const status =
    typeof answer === 'object' && answer !== null && 'status' in answer ? answer.status : undefined;
  return typeof status === 'string' ? status : 'none';
}
