import { setTimeout as sleep } from 'node:timers/promises';
import { CAPS } from '../../base/caps.ts';
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
  await migrateTo(control, `file:${file}`);
}

/** The same to wherever else. @throws E_SANDBOX_START */
export async function migrateTo(control: QmpClient, uri: string): Promise<void> {
  await control.execute('migrate-set-capabilities', CAPABILITIES);
  await control.execute('migrate', { uri });
  await migrated(control, 'QEMU could not save a machine');
}

async function migrated(control: QmpClient, what: string): Promise<void> {
  const until = Date.now() + CAPS.machineStartMs;
  for (;;) {
    const answer = await control.execute('query-migrate');
    const status = wordOf(answer, 'status') ?? 'none';
    if (status === 'completed') return;
    const isOver = status === 'failed' || status === 'cancelled';
    if (isOver || Date.now() > until)
      throw new GloveboxError('E_SANDBOX_START', { what, why: wordOf(answer, 'error-desc') ?? status });
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

/** The same for one that stood still when it was saved. @throws E_SANDBOX_START */
export async function goOnStopped(control: QmpClient, file: string, offset: number): Promise<void> {
  await control.execute('migrate-set-capabilities', CAPABILITIES);
  await control.execute('migrate-incoming', { uri: `file:${file},offset=${offset}` });
  await migrated(control, 'QEMU could not go on from a copy of a machine');
  await control.execute('cont');
}

function wordOf(answer: unknown, field: string): string | undefined {
  const value = new Map(Object.entries(typeof answer === 'object' && answer !== null ? answer : {})).get(
    field,
  ) as unknown;
  return typeof value === 'string' ? value : undefined;
}
