import type { Socket } from 'node:net';
import { CLIENT_HELLO_MAX, readClientHello } from '../net/client-hello.ts';
import type { ClientHelloResult } from '../net/client-hello.ts';
import type { Verdict } from './contract.ts';
import { HOST_LOOPBACK, LOOPBACK_NAME } from './decide.ts';
import type { Allowed } from './decide.ts';
import { readFirst, TLS_ALERT } from './wire.ts';

/** The ClientHello fits the rule and `bytes` go on; or a verdict, with the alert that says it best. */
export type TlsGateResult =
  | { readonly state: 'pass'; readonly bytes: Buffer }
  | { readonly state: 'gone' }
  | {
      readonly state: 'refuse';
      readonly verdict: Verdict;
      readonly bytes: Buffer;
      readonly alert: (typeof TLS_ALERT)['accessDenied' | 'unrecognizedName'] | undefined;
    };

/** Reads the ClientHello of a connection to an `https` rule and holds its name against the destination. */
export async function passTlsGate(
  socket: Socket,
  target: Allowed,
  timeoutMs: number,
): Promise<TlsGateResult> {
  const read = await readFirst(
    socket,
    (bytes) => {
      const result = readClientHello(bytes);
      return result.state === 'more' ? result : { state: 'done', value: result };
    },
    { timeoutMs, maxBytes: CLIENT_HELLO_MAX + 1024 },
  );
  const { bytes } = read;
  if (read.state === 'done') return judgeHello(read.value, target, bytes);
  if (read.state === 'gone') return { state: 'gone' };
  if (read.state === 'late') return refuse(bytes, 'structural.tls', `no ClientHello within ${timeoutMs} ms`);
  return refuse(bytes, 'structural.tls', 'a ClientHello that is too long or in too many pieces');
}

function judgeHello(
  result: Exclude<ClientHelloResult, { state: 'more' }>,
  target: Allowed,
  bytes: Buffer,
): TlsGateResult {
  if (result.state === 'bad') return refuseBad(result, bytes, target);
  const { serverName, encrypted } = result.hello;
  // Where TLS ends here nothing can hide behind the outer name: what is inside comes out, or the handshake fails.
  if (target.rule.requests !== undefined) return judgeName(serverName, target, bytes);
  if (encrypted && !target.rule.allowNoSni) {
    return refuse(
      bytes,
      'structural.tls-encrypted-name',
      'the ClientHello hides its true name (ECH)',
      echRemedy(target),
    );
  }
  if (encrypted) return { state: 'pass', bytes };
  return judgeName(serverName, target, bytes);
}

function judgeName(serverName: string | undefined, target: Allowed, bytes: Buffer): TlsGateResult {
  if (serverName === undefined) return withoutName(target, bytes);
  if (serverName === target.host || isLoopbackName(serverName, target)) return { state: 'pass', bytes };
  const reason = `TLS asks for ${serverName} on a connection to ${target.host}`;
  return { ...refuse(bytes, 'structural.tls-name', reason), alert: TLS_ALERT.unrecognizedName };
}

/** A program that verifies by itself asks for the name in the service's certificate; there is one place where it may lead. */
function isLoopbackName(serverName: string, { kind, rule }: Allowed): boolean {
  return kind === HOST_LOOPBACK && serverName === LOOPBACK_NAME && rule.requests === undefined;
}

/** RFC 6066 §3 forbids addresses as server names, so a rule for an address expects none. */
function withoutName(target: Allowed, bytes: Buffer): TlsGateResult {
  if (target.kind === 'ip' || target.rule.allowNoSni) return { state: 'pass', bytes };
  return refuse(
    bytes,
    'structural.tls-no-name',
    'TLS without a server name',
    `add \`allowNoSni: true\` to ${target.rule.id}`,
  );
}

function refuseBad(
  result: Extract<ClientHelloResult, { state: 'bad' }>,
  bytes: Buffer,
  target: Allowed,
): TlsGateResult {
  const refusal = refuse(bytes, 'structural.tls', `${target.rule.id} wants TLS, and these are ${result.why}`);
  if (!result.notTls)
    return {
      ...refusal,
      verdict: { ...refusal.verdict, reason: `the ClientHello is refused: ${result.why}` },
    };
  return {
    ...refusal,
    alert: undefined,
    verdict: { ...refusal.verdict, remedy: `set \`protocol\` of ${target.rule.id} to http or tcp` },
  };
}

function echRemedy(target: Allowed): string {
  return `turn Encrypted ClientHello off in the program, or add \`allowNoSni: true\` to ${target.rule.id}`;
}

function refuse(
  bytes: Buffer,
  rule: string,
  reason: string,
  remedy?: string,
): Extract<TlsGateResult, { state: 'refuse' }> {
  const verdict: Verdict = { action: 'deny', rule, reason, ...(remedy === undefined ? {} : { remedy }) };
  return { state: 'refuse', verdict, bytes, alert: TLS_ALERT.accessDenied };
}
