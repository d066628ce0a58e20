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
  const write = (kind: Parameters<typeof input.audit.write>[0]['kind'], data: object): void => {
    // The sink keeps a failed write and reports it at the end; the verdict itself has been given.
    input.audit.write({ kind, sandbox: id, data: { ...data } }).catch(() => undefined);
  };
  const { policy } = input.prepared.plan.network;
  const gateway = createGateway({
    policy,
    ...egress.gateway,
    ...input.transport,
    onEvent: (event) => {
      write('network.verdict', event);
      guarded(() => input.onNetwork(event));
    },
    onConnection: (summary) => write('network.summary', summary),
    onRequest: (record) => {
      write('network.request', record);
      if (record.alarm === true) write('credential.alarm', alarmOf(record));
    },
    onAsked: (outcome) => write('network.asked', outcome),
    onOverBudget: (verdict) => {
      if (policy.overBudget !== 'pause') return;
      parts.pause();
      guarded(() => input.onPause?.(verdict.reason));
    },
    ...(input.onAsk === undefined ? {} : { onAsk: input.onAsk }),
    ...parentAuthorization(egress, policy.parentProxy?.credential),
  });
  teardown.add('gateway', () => gateway.close());
  return gateway;
}

function parentAuthorization(
  { broker }: Egress,
  credential: string | undefined,
): Pick<GatewayOptions, 'parentAuthorization'> {
  if (broker === undefined || credential === undefined) return {};
  return { parentAuthorization: () => broker.basicAuthorization(credential) };
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
