import { isKnownCertificate } from './world.ts';
import { createGateway } from '../../../src/gateway/gateway.ts';
import type { Case, Input } from './load.ts';
import { canUpdate } from './run-special.ts';
import { isRunnable } from './run.ts';
import type { Suite } from './stage.ts';

/** Why a row cannot run yet; undefined when it runs. */
export function pendingReason(suite: Suite, row: Case): string | undefined {
  if (!suite.policies.has(row.policy)) return `no policy ${row.policy}`;
  if (!isRunnable(row.input)) return `no runner for ${row.input.op}`;
  if (!isKnownCertificate(row.input.upstreamCert)) return `no certificate "${row.input.upstreamCert ?? ''}"`;
  return needsUpdate(row.input) && !hasUpdate() ? 'Gateway.update is not there yet' : undefined;
}

/** A policy that loads, put in force while the gateway runs. */
function needsUpdate(input: Input): boolean {
  const steps = input.steps ?? [];
  const isOpen = steps.some(({ op }) => op === 'open-tunnel');
  return isOpen && steps.some(({ op }) => op === 'reload');
}

function hasUpdate(): boolean {
  const nothing = { allow: [], deny: [], budget: {} };
  return canUpdate(
    createGateway({ policy: nothing, onEvent: () => undefined, onConnection: () => undefined }),
  );
}
