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

/** `first` are the client's bytes, still to be sent; the server's have reached the client already, and of the client's so many. */
export type SshGateResult =
  | { readonly state: 'pass'; readonly first: Buffer; readonly upBytes: number; readonly downBytes: number }
  | { readonly state: 'gone' }
  | { readonly state: 'refuse'; readonly verdict: Verdict };

/** Lets a connection to an `ssh` rule go on only if both sides speak SSH: without this the rule would be a tunnel for anything. */
export async function passSshGate(
  client: Socket,
  upstream: Socket,
  target: Allowed,
  limits: Pick<GatewayLimits, 'handshakeMs'>,
): Promise<SshGateResult> {
  const patience = Math.min(SILENCE_MS, limits.handshakeMs);
  const early = await readGreeting(client, [GREETING], patience);
  const silent = early.state === 'late' && early.bytes.length === 0;
  const no = silent ? undefined : problemOf(early, target, 'client');
  if (no !== undefined) return no;
  let server = await readGreeting(upstream, SERVER_GREETINGS, silent ? limits.handshakeMs : patience);
  let upBytes = 0;
  if (!silent && server.state === 'late' && server.bytes.length === 0) {
    // It waits too: it gets the greeting of the client, and nothing that follows.
    upBytes = lineLength(early.bytes);
    upstream.write(early.bytes.subarray(0, upBytes));
    server = await readGreeting(upstream, SERVER_GREETINGS, limits.handshakeMs);
  }
  const wrong = problemOf(server, target, 'server');
  if (wrong !== undefined) return wrong;
  client.write(server.bytes);
  const greeting = silent ? await readGreeting(client, [GREETING], limits.handshakeMs) : early;
  const first = greeting.bytes.subarray(upBytes);
  return (
    problemOf(greeting, target, 'client') ?? { state: 'pass', first, upBytes, downBytes: server.bytes.length }
  );
}

/** A server that also speaks the first version says 1.99 (RFC 4253 §5.1). */
const SERVER_GREETINGS: readonly Buffer[] = [GREETING, Buffer.from('SSH-1.99-', 'latin1')];
/** RFC 4253 §4.2, with its line break. */
const GREETING_MAX = 255;

function lineLength(bytes: Buffer): number {
  const end = bytes.indexOf('\n');
  return end === -1 || end >= GREETING_MAX ? Math.min(bytes.length, GREETING_MAX) : end + 1;
}

type Greeting = Awaited<ReturnType<typeof readGreeting>>;

function readGreeting(
  socket: Socket,
  greetings: readonly Buffer[],
  timeoutMs: number,
): ReturnType<typeof readFirst<boolean>> {
  const step = (bytes: Buffer): ReadStep<boolean> => stepGreeting(bytes, greetings);
  return readFirst<boolean>(socket, step, { timeoutMs, maxBytes: FIRST_BYTES_MAX });
}

/** One wrong byte is enough to say no; saying yes takes all of one. */
function stepGreeting(bytes: Buffer, greetings: readonly Buffer[]): ReadStep<boolean> {
  const fits = (one: Buffer): boolean => {
    const have = Math.min(one.length, bytes.length);
    return bytes.subarray(0, have).equals(one.subarray(0, have));
  };
  const left = greetings.filter(fits);
  if (left.length === 0) return { state: 'done', value: false };
  return left.some((one) => bytes.length >= one.length) ? { state: 'done', value: true } : { state: 'more' };
}

/** Why a connection does not go on after this greeting. */
function problemOf(
  greeting: Greeting,
  target: Allowed,
  side: 'client' | 'server',
): SshGateResult | undefined {
  if (greeting.state === 'gone') return { state: 'gone' };
  if (greeting.state === 'done' && greeting.value) return undefined;
  const what = greeting.state === 'late' ? 'did not greet in time' : 'does not begin with SSH-2.0-';
  const verdict: Verdict = {
    action: 'deny',
    rule: 'structural.ssh',
    reason: `${target.rule.id} wants SSH, and the ${side} ${what}`,
    ...(greeting.state === 'late' ? {} : { remedy: `set \`protocol\` of ${target.rule.id} to tcp` }),
  };
  return { state: 'refuse', verdict };
}
