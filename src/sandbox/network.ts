import type { AuditSink } from '../audit/contract.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { GloveboxError, isGloveboxError } from '../base/errors.ts';
import { lendsKeys, terminatesTls } from '../drivers/inspection.ts';
import type { CommandLineLayer, Policy, PolicyContext, ResolvedPolicy } from '../policy/contract.ts';
import { loadPolicy } from '../policy/load.ts';
import type { AuditWriter } from '../audit/writer.ts';
import { gloveboxDirs } from '../base/paths.ts';
import type { Broker } from '../secrets/contract.ts';
import { policyContext } from './context.ts';
import { baseDirectory, layerOf } from './layer.ts';
import type { Network, SandboxOptions } from './options.ts';
import type { StartedSandbox } from './start.ts';

/** What a change of the policy did. */
export interface NetworkChange {
  /** SHA-256 of the policy now in force, hex. */
  readonly policy: string;
  /** Connections and requests under way that the new policy no longer allows in the same way: they were closed. */
  readonly closed: number;
}

interface ChangeInput {
  readonly sandbox: StartedSandbox;
  readonly audit: AuditSink;
  readonly context: PolicyContext;
  readonly layer: CommandLineLayer;
}

/** Sections that are built into the walls of a running sandbox. */
const FIXED = ['tier', 'driver', 'filesystem', 'process', 'limits'] as const;

/**
 * Puts other network rules and credentials in force, whole or not at all: until everything of the new policy has been checked, the
 * old one stands, and it stays when anything is wrong.
 *
 * @throws E_POLICY_INVALID, E_UNSUPPORTED
 */
export async function changeNetwork(input: ChangeInput): Promise<NetworkChange> {
  const { sandbox, audit } = input;
  const record = (data: object): Promise<void> =>
    audit.write({ kind: 'policy.changed', sandbox: sandbox.id, data: { ...data } });
  try {
    const resolved = await loadPolicy(input.context, input.layer);
    refuseFixed(sandbox, resolved.policy);
    sandbox.network.changed = true;
    const closed = await apply(sandbox, resolved);
    await record({ outcome: 'applied', policy: resolved.hash, closed });
    return { policy: resolved.hash, closed };
  } catch (error) {
    await record({
      outcome: 'refused',
      reason: isGloveboxError(error) ? error.what : 'it could not be applied',
    });
    throw error;
  }
}

/** What can fail comes first; the steps that put it in force cannot. */
async function apply(sandbox: StartedSandbox, { policy }: ResolvedPolicy): Promise<number> {
  const { egress, gateway } = sandbox;
  const scanner = await egress.scannerFor(policy.network.dlp);
  if (terminatesTls(policy.network)) await egress.checkTrust(policy.network);
  const { closed } = gateway.update({ policy: policy.network, scanner });
  egress.agent?.lend(policy.network);
  await egress.broker?.update(policy.credentials);
  return closed;
}

function refuseFixed(sandbox: StartedSandbox, next: Policy): void {
  const { policy, plan } = sandbox.prepared;
  const text = (of: Policy, section: (typeof FIXED)[number]): string => canonicalJson(of[section] ?? null);
  const changed = FIXED.find((section) => text(policy, section) !== text(next, section));
  if (changed !== undefined)
    throw unsupported(
      `a change of ${changed}`,
      'only network rules and credentials can change while it runs',
    );
  const ports = new Set(plan.network.listeners.map((listener) => listener.port));
  const rule = next.network.allow.find((candidate) => candidate.ports.some((port) => !ports.has(port)));
  if (rule !== undefined)
    throw unsupported(
      `${rule.id}, which names port ${rule.ports.find((port) => !ports.has(port))}`,
      'the sandbox was started without a listener for it',
    );
  const { authority } = sandbox.egress.gateway;
  if (terminatesTls(next.network) && authority === undefined)
    throw unsupported(
      'a rule that looks inside TLS',
      'the sandbox was started without a certificate authority',
    );
  if (next.credentials.length > 0 && sandbox.egress.broker === undefined)
    throw unsupported('credentials', 'the sandbox was started without any');
  if (lendsKeys(next.network) && !lendsKeys(plan.network.policy))
    throw unsupported('a rule that lends ssh keys', 'the sandbox was started without an agent');
}

function unsupported(what: string, why: string): GloveboxError {
  return new GloveboxError('E_UNSUPPORTED', {
    what: `a running sandbox cannot take ${what}`,
    why,
    next: 'Start a new sandbox with the new policy.',
  });
}

export interface NetworkInput {
  readonly started: StartedSandbox;
  readonly audit: AuditWriter;
  readonly env: NodeJS.ProcessEnv;
  readonly options: SandboxOptions;
  readonly refuseEnded: () => void;
}

/** The network of a sandbox that this process owns. Changes come one after another, so that the last one asked for is in force. */
export function networkOf({ started, audit, env, options, refuseEnded }: NetworkInput): Network {
  let last: Promise<unknown> = Promise.resolve();
  const change = async (wanted: SandboxOptions): Promise<NetworkChange> => {
    refuseEnded();
    const context = policyContext(env, baseDirectory(wanted));
    return changeNetwork({
      sandbox: started,
      audit,
      context,
      layer: layerOf(wanted, gloveboxDirs(env).cache),
    });
  };
  return {
    update: (wanted) => {
      const { workspace } = started.prepared.plan;
      const next = last.then(() => change({ ...options, workspace, ...wanted }));
      last = next.catch(() => undefined);
      return next;
    },
    refresh: (credential) => brokerOf(started).refresh(credential),
    revoke: (credential) => {
      started.network.changed = true;
      brokerOf(started).revoke(credential);
      started.gateway.revoke(credential);
    },
  };
}

function brokerOf(started: StartedSandbox): Broker {
  const { broker } = started.egress;
  if (broker === undefined)
    throw new GloveboxError('E_USAGE', {
      what: `sandbox ${started.id} has no credentials`,
      next: 'Name them under `credentials` in its policy.',
    });
  return broker;
}
