import { readdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { ensurePrivateDir } from '../base/paths.ts';
import { SshAgentBroker } from '../gateway/ssh-agent.ts';
import type { EgressInput } from './egress.ts';

/** Opens an ssh agent for this sandbox alone; answers its socket on the host, or why there is none. */
export async function lendSshAgent(input: EgressInput): Promise<{ readonly source: string } | string> {
  const upstream = input.env['SSH_AUTH_SOCK'];
  if (upstream === undefined || upstream === '')
    return 'no ssh keys are lent: SSH_AUTH_SOCK of the host names no agent';
  const dir = ensurePrivateDir(path.join(input.dirs.runtime, 'agents'));
  await sweep(dir);
  const socket = path.join(dir, `${input.id}.sock`);
  const broker = await SshAgentBroker.listen({
    path: socket,
    upstream,
    grants: input.plan.network.policy.allow.flatMap((rule) => rule.ssh ?? []),
    onSign: (record) => {
      input.audit
        .write({ kind: 'credential.signed', sandbox: input.id, data: { ...record } })
        .catch(() => undefined);
    },
  });
  // Closing the server takes its socket away as well.
  input.teardown.add('ssh agent', () => broker.close());
  return { source: socket };
}

/** A launcher that was killed leaves its socket: nobody answers on it any more. */
async function sweep(dir: string): Promise<void> {
  for (const name of readdirSync(dir)) {
    const file = path.join(dir, name);
    if (!(await isAlive(file))) unlinkQuietly(file);
  }
}

function isAlive(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(file);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Another start may have swept it at the same moment. */
function unlinkQuietly(file: string): void {
  try {
    unlinkSync(file);
  } catch {
    return;
  }
}
