import type { Socket } from 'node:net';
import { parseSocketAddress } from '../net/ip.ts';
import type { Arrival } from './relay.ts';
import type { Verdict } from './contract.ts';
import { placeOf, recordDeny } from './core.ts';
import type { Entry, GatewayCore } from './core.ts';
import type { Decision } from './decide.ts';
import { refuseBySight, route } from './route.ts';
import type { Entrance } from './route.ts';
import { readFirst, reset, sayAndClose, TLS_ALERT, tlsAlert } from './wire.ts';

/** How long a refused client may take to show its protocol, so that the refusal can be said in it. */
const SIGHT_MS = 1_000;

/** A connection to "any address": the address it was made to says which name was meant. */
export async function serveTransparent(
  core: GatewayCore,
  client: Socket,
  arrival: Arrival | undefined = arrivalOf(client),
): Promise<void> {
  const decision = destinationOf(core, arrival);
  if (decision === undefined) return reset(client);
  await route(core, client, decision, entranceOf(core, client));
}

/** A port that no rule names: nothing is read, the attempt is recorded and reset. */
export function refuseSentinel(
  core: GatewayCore,
  client: Socket,
  arrival: Arrival | undefined = arrivalOf(client),
): void {
  const decision = destinationOf(core, arrival);
  reset(client);
  if (decision === undefined) return;
  const verdict: Verdict =
    decision.action === 'deny'
      ? decision.verdict
      : {
          action: 'deny',
          rule: 'structural.sentinel',
          reason: `port ${decision.port} is watched, not served`,
        };
  recordDeny(core, placeOf('sentinel', decision), verdict);
}

/** On a socket of the airlock's network namespace the local address is what the program connected to. */
function arrivalOf(client: Socket): Arrival | undefined {
  const address = parseSocketAddress(client.localAddress ?? '')?.text;
  const port = client.localPort;
  return address === undefined || port === undefined ? undefined : { address, port };
}

/**
 * The name that the local address was given to, else the address itself, which only a rule for that address allows. SNI and Host
 * never choose the destination: they are only compared with it.
 */
function destinationOf(core: GatewayCore, arrival: Arrival | undefined): Decision | undefined {
  if (arrival === undefined) return undefined;
  return core.judge.decide(core.names.nameOf(arrival.address) ?? arrival.address, arrival.port);
}

function entranceOf(core: GatewayCore, client: Socket): Entrance {
  const entry: Entry = 'transparent';
  return {
    entry,
    accept: () => undefined,
    refuse: (verdict) => void refuseInProtocol(core, client, verdict),
    fail: (_why, { rule }) =>
      rule.protocol === 'https'
        ? sayAndClose(client, tlsAlert(TLS_ALERT.internalError), core.limits)
        : reset(client),
  };
}

async function refuseInProtocol(core: GatewayCore, client: Socket, verdict: Verdict): Promise<void> {
  const read = await readFirst(client, () => ({ state: 'done', value: undefined }), {
    timeoutMs: SIGHT_MS,
    maxBytes: 1024 * 1024,
  });
  refuseBySight(core, client, read.bytes[0], verdict);
}
