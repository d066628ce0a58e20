import type { Socket } from 'node:net';
import type { Verdict } from './contract.ts';
import type { Allowed } from './decide.ts';
import type { GatewayLimits } from './limits.ts';
import { readFirst } from './wire.ts';
import type { ReadStep } from './wire.ts';

/** How both sides of SSH begin (RFC 4253 §4.2). */
const GREETING = Buffer.from('SSH-2.0-', 'latin1');
/** A greeting line has at most 255 bytes; key exchange may come in the same segment. */
const FIRST_BYTES_MAX = 64 * 1024;
/** Clients may wait for the server's greeting; most do not. */
const SILENCE_MS = 3_000;

/** `first` are the client's bytes, still to be sent; the server's have reached the client already. */
export type SshGateResult =
  | { readonly state: 'pass'; readonly first: Buffer; readonly downBytes: number }
  | { readonly state: 'gone' }
  | { readonly state: 'refuse'; readonly verdict: Verdict };

/** Lets a connection to an `ssh` rule go on only if it is SSH: without this the rule would be a tunnel for anything. */
export async function passSshGate(
  client: Socket,
  upstream: Socket,
  target: Allowed,
  limits: Pick<GatewayLimits, 'handshakeMs'>,
): Promise<SshGateResult> {
  const early = await readGreeting(client, Math.min(SILENCE_MS, limits.handshakeMs));
  if (early.state !== 'late' || early.bytes.length > 0) return judge(early, target, 'client', 0);
  const server = await readGreeting(upstream, limits.handshakeMs);
  if (server.state !== 'done' || !server.value) return judge(server, target, 'server', 0);
  client.write(server.bytes);
  return judge(await readGreeting(client, limits.handshakeMs), target, 'client', server.bytes.length);
}

type Greeting = Awaited<ReturnType<typeof readGreeting>>;

function readGreeting(socket: Socket, timeoutMs: number): ReturnType<typeof readFirst<boolean>> {
  return readFirst<boolean>(socket, stepGreeting, { timeoutMs, maxBytes: FIRST_BYTES_MAX });
}

/** One wrong byte is enough to say no; saying yes takes all eight. */
function stepGreeting(bytes: Buffer): ReadStep<boolean> {
  const have = bytes.subarray(0, GREETING.length);
  if (!have.equals(GREETING.subarray(0, have.length))) return { state: 'done', value: false };
  return have.length < GREETING.length ? { state: 'more' } : { state: 'done', value: true };
}

function judge(
  greeting: Greeting,
  target: Allowed,
  side: 'client' | 'server',
  downBytes: number,
): SshGateResult {
  if (greeting.state === 'gone') return { state: 'gone' };
  if (greeting.state === 'done' && greeting.value) return { state: 'pass', first: greeting.bytes, downBytes };
  const what = greeting.state === 'late' ? 'did not greet in time' : 'does not begin with SSH-2.0-';
  const verdict: Verdict = {
    action: 'deny',
    rule: 'structural.ssh',
    reason: `${target.rule.id} wants SSH, and the ${side} ${what}`,
    ...(greeting.state === 'late' ? {} : { remedy: `set \`protocol\` of ${target.rule.id} to tcp` }),
  };
  return { state: 'refuse', verdict };
}
