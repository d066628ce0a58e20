import type { Socket } from 'node:net';
import type { Verdict } from './contract.ts';
import { failedSummary, meterFor, placeOf, recordAllow, recordDeny, summaryOf } from './core.ts';
import type { Entry, GatewayCore } from './core.ts';
import type { Allowed, Decision } from './decide.ts';
import { onceClosed } from './flows.ts';
import { failureOf, problemBytes, problemOf, statusOf } from './problem.ts';
import { passSshGate } from './ssh-gate.ts';
import { passTlsGate } from './tls-gate.ts';
import type { TlsGateResult } from './tls-gate.ts';
import { inspect } from './tls/inspect.ts';
import { tunnel } from './tunnel.ts';
import { reset, sayAndClose, TLS_ALERT, tlsAlert } from './wire.ts';

/** How one kind of entry talks to its client before the destination's own protocol begins. */
export interface Entrance {
  readonly entry: Entry;
  /** The way is open: 200, SOCKS success; nothing where the client believes it is connected already. */
  readonly accept: () => void;
  readonly refuse: (verdict: Verdict) => void;
  /** The network behind an allowed destination failed. */
  readonly fail: (why: string, target: Allowed) => void;
}

/** Takes a client to its destination: one path for CONNECT, SOCKS and transparent connections, so that no entry is a side door. */
export async function route(
  core: GatewayCore,
  client: Socket,
  decision: Decision,
  entrance: Entrance,
): Promise<void> {
  const asked = core.desk?.asksAbout(decision) === true;
  // Held meanwhile: the socket is paused, so at most one buffer of it is read.
  const settled = asked ? await core.desk.settle(decision, entrance.entry) : decision;
  const target = admit(core, client, settled, entrance);
  if (target === undefined) return;
  onceClosed(
    client,
    core.flows.add(entrance.entry, target, () => reset(client)),
  );
  if (client.destroyed) return recordAllow(core, entrance.entry, target);
  if (target.rule.protocol === 'http') {
    entrance.accept();
    const http = await core.http();
    return http.serve(client, { kind: 'pinned', entry: entrance.entry, target, secure: false });
  }
  if (target.rule.requests !== undefined) return openInspected(core, client, target, entrance);
  const startedAt = Date.now();
  const vetted = await core.upstream.vet(target);
  if (client.destroyed) return recordAllow(core, entrance.entry, target);
  if (vetted.state === 'denied') return refuse(core, entrance, target, vetted.verdict);
  if (vetted.state === 'failed') return fail({ core, target, startedAt, entrance }, vetted.why);
  const journey = { core, client, target, startedAt, entrance, addresses: vetted.addresses };
  await OPEN[target.rule.protocol](journey);
}

/** How connections that nobody reads begin. */
const OPEN = { tcp: openTcp, ssh: openSsh, https: openTls } as const;

interface Journey {
  readonly core: GatewayCore;
  readonly client: Socket;
  readonly target: Allowed;
  readonly startedAt: number;
  readonly entrance: Entrance;
  readonly addresses: readonly string[];
}

function admit(
  core: GatewayCore,
  client: Socket,
  decision: Decision,
  entrance: Entrance,
): Allowed | undefined {
  if (decision.action === 'deny') {
    refuse(core, entrance, decision, decision.verdict);
    return undefined;
  }
  const { rule } = decision;
  const named = decision.kind === 'name' ? core.nameGate.admit(decision.host, rule) : undefined;
  // HTTP counts its own requests and upstream connections; elsewhere a connection is all there is to see.
  const read = rule.protocol === 'http' || rule.requests !== undefined;
  const opaque = read || named !== undefined ? undefined : takeConnection(core, client, decision);
  const verdict = named ?? opaque;
  if (verdict === undefined) return decision;
  refuse(core, entrance, decision, verdict);
  return undefined;
}

/** Counts as a request until its client is gone. */
function takeConnection(core: GatewayCore, client: Socket, { rule }: Allowed): Verdict | undefined {
  const { budgets } = core;
  const verdict =
    budgets.check(rule, 'requests', 1) ?? budgets.check(rule, 'connections', 1) ?? budgets.enter(rule);
  if (verdict !== undefined) return verdict;
  onceClosed(client, () => budgets.leave(rule));
  return budgets.take(rule, 'connections') ?? budgets.take(rule, 'requests');
}

function refuse(core: GatewayCore, entrance: Entrance, where: Decision, verdict: Verdict): void {
  recordDeny(core, placeOf(entrance.entry, where), verdict);
  entrance.refuse(verdict);
}

function fail(
  journey: Pick<Journey, 'core' | 'target' | 'startedAt' | 'entrance'>,
  why: string,
  address?: string,
): void {
  const { core, target, startedAt, entrance } = journey;
  recordAllow(core, entrance.entry, target, address);
  core.ledger.finished(failedSummary(target, startedAt));
  entrance.fail(why, target);
}

async function openTcp(journey: Journey): Promise<void> {
  const { core, target, entrance } = journey;
  const dialled = await core.upstream.dial(journey.addresses, { target, entry: entrance.entry });
  if (dialled.state === 'failed') return fail(journey, dialled.why, dialled.address);
  recordAllow(core, entrance.entry, target, dialled.address);
  entrance.accept();
  join(journey, dialled.socket, undefined);
}

/** SSH keeps its secrets, but it has to be SSH. */
async function openSsh(journey: Journey): Promise<void> {
  const { core, client, target, entrance, startedAt } = journey;
  const dialled = await core.upstream.dial(journey.addresses, { target, entry: entrance.entry });
  if (dialled.state === 'failed') return fail(journey, dialled.why, dialled.address);
  const upstream = dialled.socket;
  entrance.accept();
  const gate = await passSshGate(client, upstream, target, core.limits);
  if (gate.state === 'pass') {
    recordAllow(core, entrance.entry, target, dialled.address);
    meterFor(core, target).up(gate.upBytes);
    meterFor(core, target).down(gate.downBytes);
    return join(journey, upstream, gate.first);
  }
  if (gate.state === 'refuse') recordDeny(core, placeOf(entrance.entry, target), gate.verdict);
  else recordAllow(core, entrance.entry, target, dialled.address);
  reset(client);
  reset(upstream);
  core.ledger.finished(failedSummary(target, startedAt));
}

/** Every request of the rule is read, so what cannot be read does not pass: not by CONNECT, not by SOCKS, not transparently. */
async function openInspected(
  core: GatewayCore,
  client: Socket,
  target: Allowed,
  entrance: Entrance,
): Promise<void> {
  if (target.rule.protocol !== 'https') return refuse(core, entrance, target, opaqueVerdict(target));
  entrance.accept();
  const gate = await gateTls(core, client, target, entrance.entry);
  if (gate === undefined) return;
  await inspect({ core, client, target, entry: entrance.entry, hello: gate });
}

function opaqueVerdict(target: Allowed): Verdict {
  const { id, protocol } = target.rule;
  return {
    action: 'deny',
    rule: 'structural.opaque',
    reason: `${id} reads every request, which \`${protocol}\` does not let it`,
    remedy: `set \`protocol\` of ${id} to https or http`,
  };
}

async function openTls(journey: Journey): Promise<void> {
  const { core, client, target, entrance } = journey;
  entrance.accept();
  const hello = await gateTls(core, client, target, entrance.entry);
  if (hello === undefined) return;
  const dialled = await core.upstream.dial(journey.addresses, { target, entry: entrance.entry });
  if (dialled.state === 'failed') {
    const late = {
      ...entrance,
      fail: (): void => sayAndClose(client, tlsAlert(TLS_ALERT.internalError), core.limits),
    };
    return fail({ ...journey, entrance: late }, dialled.why, dialled.address);
  }
  recordAllow(core, entrance.entry, target, dialled.address);
  join(journey, dialled.socket, hello);
}

/** The judged ClientHello; undefined when the connection is over, recorded and answered. */
async function gateTls(
  core: GatewayCore,
  client: Socket,
  target: Allowed,
  entry: Entry,
): Promise<Buffer | undefined> {
  const gate = await passTlsGate(client, target, core.limits.handshakeMs);
  if (gate.state === 'pass') return gate.bytes;
  if (gate.state === 'gone') {
    // The client left before it said anything; the decision so far was "allowed".
    client.destroy();
    recordAllow(core, entry, target);
    return undefined;
  }
  recordDeny(core, placeOf(entry, target), gate.verdict);
  refuseOnWire(core, client, gate);
  return undefined;
}

/** The tunnel is open already, so the refusal speaks the client's protocol: an alert, an HTTP page, or RST. */
function refuseOnWire(
  core: GatewayCore,
  client: Socket,
  gate: Extract<TlsGateResult, { state: 'refuse' }>,
): void {
  if (gate.alert !== undefined) return sayAndClose(client, tlsAlert(gate.alert), core.limits);
  refuseBySight(core, client, gate.bytes[0], gate.verdict);
}

/** Refuses in the protocol that a first byte gives away. */
export function refuseBySight(
  core: GatewayCore,
  client: Socket,
  firstByte: number | undefined,
  verdict: Verdict,
): void {
  if (firstByte === 22) return sayAndClose(client, tlsAlert(TLS_ALERT.accessDenied), core.limits);
  // "A" to "Z": a method of HTTP/1, so a page can say why. SSH and SMTP begin so too and show it to their user as well.
  const letter = firstByte !== undefined && firstByte >= 65 && firstByte <= 90;
  if (letter) return sayAndClose(client, problemBytes(problemOf(statusOf(verdict), verdict)), core.limits);
  reset(client);
}

/** The answer of an HTTP entry when the network fails. */
export function failurePage(why: string): string {
  return problemBytes(failureOf(502, why));
}

function join(journey: Journey, upstream: Socket, first: Uint8Array | undefined): void {
  const { core, client, target, startedAt, entrance } = journey;
  tunnel(client, upstream, {
    first,
    meter: meterFor(core, target),
    halfClosedMs: core.limits.halfClosedMs,
    onEnd: (result) => core.ledger.finished(summaryOf(target, startedAt, result)),
    onCut: (verdict) => recordDeny(core, placeOf(entrance.entry, target), verdict),
  });
}
