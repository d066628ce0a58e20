import { readdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { systemCode } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import { SshAgentBroker } from '../gateway/ssh-agent.ts';
import type { NetworkPolicy, SshPolicy } from '../policy/contract.ts';
import type { EgressInput } from './egress.ts';

/** An ssh agent that is lent to one sandbox. */
export interface LentAgent {
  /** Its socket on the host. */
  readonly source: string;
  /** Lends what another policy says instead. */
  lend(policy: NetworkPolicy): void;
}

/** Opens an ssh agent for this sandbox alone, or answers why there is none. */
export async function lendSshAgent(input: EgressInput): Promise<LentAgent | string> {
  const upstream = input.env['SSH_AUTH_SOCK'];
  if (upstream === undefined || upstream === '')
    return 'no ssh keys are lent: SSH_AUTH_SOCK of the host names no agent';
  const dir = ensurePrivateDir(path.join(input.dirs.runtime, 'agents'));
  await sweep(dir);
  const socket = path.join(dir, `${input.id}.sock`);
  const broker = await SshAgentBroker.listen({
    path: socket,
    upstream,
    grants: grantsOf(input.plan.network.policy),
    onSign: (record) => {
      input.audit
        .write({ kind: 'credential.signed', sandbox: input.id, data: { ...record } })
        .catch(() => undefined);
    },
  });
  // Closing the server takes its socket away as well.
  input.teardown.add('ssh agent', () => broker.close());
  return { source: socket, lend: (policy) => broker.replace(grantsOf(policy)) };
}

function grantsOf(policy: NetworkPolicy): readonly SshPolicy[] {
  return policy.allow.flatMap((rule) => rule.ssh ?? []);
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
    // Refused: nobody listens. Anything else, such as a full queue, is no proof of that.
    socket.once('connect', () => resolve(true));
    socket.once('error', (error) => resolve(systemCode(error) !== 'ECONNREFUSED'));
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
