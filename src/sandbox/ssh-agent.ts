import type { Socket } from 'node:net';
import { FloodLog } from '../gateway/flood-log.ts';
import { SIGN_FOLDING } from '../gateway/folding.ts';
import { GATEWAY_LIMITS } from '../gateway/limits.ts';
import { SshAgentBroker } from '../gateway/ssh-agent.ts';
import type { SignRecord } from '../gateway/ssh-agent.ts';
import type { NetworkPolicy, SshPolicy } from '../policy/contract.ts';
import type { EgressInput } from './egress.ts';
import { socketPath } from './socket-files.ts';

/** An ssh agent that is lent to one sandbox. */
export interface LentAgent {
  /** Its socket on the host. */
  readonly source: string;
  /** Takes a connection that came another way than over the socket: out of a machine. */
  serve(socket: Socket): void;
  /** Lends what another policy says instead. */
  lend(policy: NetworkPolicy): void;
}

/** Opens an ssh agent for this sandbox alone, or answers why there is none. */
export async function lendSshAgent(input: EgressInput): Promise<LentAgent | string> {
  const upstream = input.env['SSH_AUTH_SOCK'];
  if (upstream === undefined || upstream === '')
    return 'no ssh keys are lent: SSH_AUTH_SOCK of the host names no agent';
  const socket = await socketPath(input.dirs, 'agents', input.id);
  const write = (record: SignRecord): void => {
    input.audit
      .write({ kind: 'credential.signed', sandbox: input.id, data: { ...record } })
      .catch(() => undefined);
  };
  const records = new FloodLog(write, SIGN_FOLDING, GATEWAY_LIMITS);
  const broker = await SshAgentBroker.listen({
    path: socket,
    upstream,
    grants: grantsOf(input.plan.network.policy),
    onSign: (record) => records.record(record),
  });
  // Closing the server takes its socket away as well.
  input.teardown.add('ssh agent', async () => {
    await broker.close();
    records.flush();
  });
  return {
    source: socket,
    serve: (client) => broker.serve(client),
    lend: (policy) => broker.replace(grantsOf(policy)),
  };
}

function grantsOf(policy: NetworkPolicy): readonly SshPolicy[] {
  return policy.allow.flatMap((rule) => rule.ssh ?? []);
}
