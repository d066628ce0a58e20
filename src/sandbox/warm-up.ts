import type { AgentSession } from '../agent/session.ts';
import { GloveboxError } from '../base/errors.ts';
import { inTime } from '../base/within.ts';
import type { Plan } from '../drivers/contract.ts';
import type { LaunchInput } from './launch.ts';

/** How long a command may take that prepares a template, in ms. */
const WARM_UP_MS = 120_000;

/** No secret of the caller's, no placeholder: what a process had in its memory, a template may hold. */
const VARIABLES = new Set(['PATH', 'HOME', 'LANG']);

/**
 * Runs what the template of a plan is to have run.
 *
 * @throws E_SANDBOX_START when it fails or does not end: then there is no template
 */
export async function warmUp(
  { id, start }: Pick<LaunchInput, 'id' | 'start'>,
  session: Pick<AgentSession, 'exec'>,
): Promise<void> {
  const { warmUp: argv } = start;
  if (argv === undefined) return;
  const { cwd, env } = start.prepared.plan;
  await start.audit.write({ kind: 'run.command', sandbox: id, data: { argv, cwd } });
  const command = session.exec({ argv, env: own(env), cwd, stdio: ['null', 'null', 'null'] });
  command.started.catch(() => undefined);
  const late = (): GloveboxError => failed(`it did not end within ${WARM_UP_MS} ms`);
  try {
    const { status } = await inTime(WARM_UP_MS, command.exit, late);
    if (status !== 0) throw failed(`it ended with ${status}`);
  } finally {
    command.abandon();
  }
}

const own = (env: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => VARIABLES.has(name)));

/** What decides whether a template may still be used in which that command has run: its pages of the host's base system are in it. */
export async function warmUpKey(argv: readonly string[], { view }: Plan): Promise<readonly string[]> {
  const { hostKey } = await import('../machine/root/host-key.ts');
  const base = view.slice(
    0,
    view.findIndex((mount) => mount.kind === 'proc'),
  );
  const system = base.flatMap((mount) =>
    mount.kind === 'bind' ? [{ path: mount.target, source: mount.source, why: mount.why }] : [],
  );
  return [...argv, hostKey(system)];
}

function failed(why: string): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', { what: 'the command that warms a template up failed', why });
}
