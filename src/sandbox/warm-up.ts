import type { AgentSession } from '../agent/session.ts';
import { GloveboxError } from '../base/errors.ts';
import { inTime } from '../base/within.ts';
import type { PreparedPlan } from './prepare.ts';
import { partsOfView } from '../drivers/view-parts.ts';
import type { LaunchInput } from './launch.ts';

const SIGKILL = 9;

/** How long a command may take that prepares a template, in ms. */
const WARM_UP_MS = 120_000;

/** Not the workspace: what lies there is no part of a template, and no configuration of the command. */
const cwd = '/';

/** No secret of the caller's, no placeholder: what a process had in its memory, a template may hold. */
const VARIABLES = new Set(['PATH', 'HOME', 'LANG']);

/**
 * Runs what the template of a plan is to have run.
 *
 * @throws E_SANDBOX_START when it fails or does not end: then there is no template
 */
export async function warmUp(
  { id, start }: Pick<LaunchInput, 'id' | 'start'>,
  session: Pick<AgentSession, 'exec' | 'signalAll' | 'processes'>,
): Promise<void> {
  const { warmUp: argv } = start;
  if (argv === undefined) return;
  const { env } = start.prepared.plan;
  await start.audit.write({ kind: 'run.command', sandbox: id, data: { argv, cwd } });
  const command = session.exec({ argv, env: own(env), cwd, stdio: ['null', 'null', 'null'] });
  command.started.catch(() => undefined);
  const late = (): GloveboxError => failed(`it did not end within ${WARM_UP_MS} ms`);
  try {
    const { status } = await inTime(WARM_UP_MS, command.exit, late);
    if (status !== 0) throw failed(`it ended with ${status}`);
    session.signalAll(SIGKILL);
    const left = await session.processes();
    if (left.length > 0) throw failed(`it left ${left.length} processes behind`);
  } finally {
    command.abandon();
  }
}

const own = (env: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => VARIABLES.has(name)));

/**
 * What decides whether a template may still be used in which that command has run: it holds what the command saw, by the whole plan with its masks and
 * rules, and pages of the host's base system.
 */
export async function warmUpKey(
  argv: readonly string[],
  { plan, hash }: Pick<PreparedPlan, 'plan' | 'hash'>,
): Promise<readonly string[]> {
  const { hostKey } = await import('../machine/root/host-key.ts');
  const system = partsOfView(plan.view).base.flatMap((mount) =>
    mount.kind === 'bind' ? [{ path: mount.target, source: mount.source, why: mount.why }] : [],
  );
  return [...argv, hash, hostKey(system)];
}

function failed(why: string): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', { what: 'the command that warms a template up failed', why });
}
