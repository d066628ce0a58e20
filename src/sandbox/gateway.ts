import type { AuditEvent } from '../audit/contract.ts';
import type { Teardown } from '../base/teardown.ts';
import type { Gateway, GatewayOptions, RequestRecord } from '../gateway/contract.ts';
import { createGateway } from '../gateway/gateway.ts';
import type { Egress } from './egress.ts';
import type { StartInput } from './start.ts';

interface GatewayParts {
  readonly id: string;
  readonly egress: Egress;
  readonly teardown: Teardown;
  /** Stops every process inside. */
  readonly pause: () => void;
}

/** The gateway of a sandbox, with everything it decides going into the record. */
export function startGateway(input: StartInput, parts: GatewayParts): Gateway {
  const { id, egress, teardown } = parts;
  const write = (kind: AuditEvent['kind'], data: object, when: 'now' | 'soon' = 'now'): void => {
    // The sink keeps a failed write and reports it at the end; the verdict itself has been given.
    input.audit.write({ kind, sandbox: id, data: { ...data } }, when).catch(() => undefined);
  };
  const gateway = createGateway({
    policy: input.prepared.plan.network.policy,
    ...egress.gateway,
    ...input.transport,
    onEvent: (event) => {
      write('network.verdict', event);
      guarded(() => input.onNetwork(event));
    },
    onConnection: (summary) => write('network.summary', summary, 'soon'),
    onRequest: (record) => {
      // What was allowed and is over is told of together with what comes next; a refusal at once.
      write('network.request', record, record.action === 'allow' ? 'soon' : 'now');
      if (record.alarm === true) write('credential.alarm', alarmOf(record));
    },
    onAsked: (outcome) => write('network.asked', outcome),
    // Called under a policy that pauses only, which need not be the one of the start.
    onOverBudget: (verdict) => {
      parts.pause();
      guarded(() => input.onPause?.(verdict.reason));
    },
    ...(input.onAsk === undefined ? {} : { onAsk: input.onAsk }),
    ...parentAuthorization(egress),
  });
  teardown.add('gateway', () => gateway.close());
  return gateway;
}

function parentAuthorization({ broker }: Egress): Pick<GatewayOptions, 'parentAuthorization'> {
  if (broker === undefined) return {};
  return { parentAuthorization: (credential) => broker.basicAuthorization(credential) };
}

function alarmOf(record: RequestRecord): object {
  const { rule, reason, host, port, foreign } = record;
  return { rule, reason, host, port, ...(foreign === undefined ? {} : { foreign }) };
}

/** The caller's callback must not be able to close the gateway or end the process. */
function guarded(call: () => void): void {
  try {
    call();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error), { type: 'GloveboxCallback' });
  }
}
