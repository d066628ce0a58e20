import type { ConnectionOptions } from 'node:tls';
import { clientHello } from '../hello.ts';
import type { Input } from './load.ts';
import { marksOf, outcomeOf, refusalOf } from './outcome.ts';
import type { Marks, Step } from './outcome.ts';
import { judgeRequest } from './run-http.ts';
import { h2Get } from './run-h2.ts';
import { hostOf, messageOf, portOfAuthority, textOf } from './session.ts';
import type { Run } from './session.ts';
import { ruleOf } from './stage.ts';
import type { Stage } from './stage.ts';
import { ANSWER_MS, connectThrough, dial, secure } from './wire.ts';
import type { Wire } from './wire.ts';

/** CONNECT, then TLS as the row says: by hand where a client library could not say it, else a real client. */
export async function runTls(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const authority = textOf(stage, input.authority ?? input.dst ?? '');
  const wire = await dial(stage.bench.proxy);
  if (!(await connectThrough(wire, authority))) {
    const seen = { reply: wire.bytes, closed: true };
    wire.destroy();
    return { stage, input, before, sent: Buffer.alloc(0), ...seen, outcome: refusalOf(stage, before, seen) };
  }
  const rule = ruleOf(stage, hostOf(authority), portOfAuthority(authority));
  // A row that says nothing of a name means an honest client.
  const said: Input =
    input.op === 'tls' && input.sni === undefined ? { ...input, sni: hostOf(authority) } : input;
  const attempt = { run, stage, input: said, before, wire, authority };
  const isReal = rule?.requests !== undefined && !isHandMade(said);
  const step = isReal ? await realClient(attempt) : await handMade(attempt, rule?.requests !== undefined);
  wire.destroy();
  return step;
}

interface Attempt {
  readonly run: Run;
  readonly stage: Stage;
  readonly input: Input;
  readonly before: Marks;
  readonly wire: Wire;
  readonly authority: string;
}

function isHandMade(input: Input): boolean {
  const { sni, sniHex, sniList, sniExtensions, ext, hex, records, segments } = input;
  const byHand = [sniHex, sniList, sniExtensions, ext, hex, records, segments].some(
    (value) => value !== undefined,
  );
  // A name that no client library would send.
  return byHand || sni === null || sni === '' || (typeof sni === 'string' && !/^[\w.-]+$/.test(sni));
}

/** Raw bytes of a ClientHello. Where TLS ends in the gateway, its part of the handshake is all that can be seen of a "yes". */
async function handMade({ stage, input, before, wire }: Attempt, isRead: boolean): Promise<Step> {
  const hello = helloOf(input);
  const size = Math.ceil(hello.length / (input.segments ?? 1));
  const pieces = Array.from({ length: input.segments ?? 1 }, (_, i) =>
    hello.subarray(i * size, (i + 1) * size),
  );
  stage.origin.opaque = !isRead;
  const upload = input.bytesUp === undefined ? [] : [Buffer.alloc(input.bytesUp, 'a')];
  await wire.send(pieces);
  await wire.until(() => wire.bytes.length > 0, ANSWER_MS);
  await wire.send(upload);
  const sentBytes = hello.length + (input.bytesUp ?? 0);
  const arrived = (): number =>
    stage.origin.arrivals.slice(before.arrivals).reduce((sum, { raw }) => sum + raw.length, 0);
  if (upload.length > 0) await waitFor(() => arrived() >= sentBytes || wire.closed, 2_000);
  const seen = { reply: wire.bytes, closed: wire.closed };
  const denied = stage.bench.events.slice(before.events).some(({ action }) => action === 'deny');
  const goesOn = isRead && !denied && isHandshakeGoingOn(wire.bytes);
  const outcome = goesOn ? 'allow' : await outcomeOf(stage, before, seen);
  return { stage, input, before, sent: hello, ...seen, outcome };
}

/** ServerHello, or an alert that says "not with these parameters": the gate let the name pass. */
function isHandshakeGoingOn(bytes: Buffer): boolean {
  const alerts = [40, 47, 70, 71, 80, 109];
  return bytes[0] === 22 || (bytes[0] === 21 && alerts.includes(bytes[6] ?? 0));
}

function helloOf(input: Input): Buffer {
  if (input.hex !== undefined) return Buffer.from(input.hex, 'hex');
  return clientHello({
    sni: input.sni ?? null,
    ...(input.sniHex === undefined ? {} : { sniList: [Buffer.from(input.sniHex, 'hex')] }),
    ...(input.sniList === undefined ? {} : { sniList: input.sniList }),
    ...(input.sniExtensions === undefined ? {} : { sniExtensions: input.sniExtensions }),
    ...(input.alpn === undefined ? {} : { alpn: input.alpn }),
    ech: input.ext?.some((name) => name.startsWith('ech')) === true,
    records: input.records ?? 1,
    ...(input.padding === undefined ? {} : { padding: input.padding }),
    more: [
      SIGNATURE_ALGORITHMS,
      KEY_SHARE,
      ...(input.ext?.includes('early_data') === true ? [EARLY_DATA] : []),
    ],
  });
}

/** What a server needs to answer: ECDSA with P-256 and two of RSA's, and a key of X25519 (the base point is one). */
const SIGNATURE_ALGORITHMS: readonly [number, readonly number[]] = [13, [0, 6, 4, 3, 8, 4, 4, 1]];
const EARLY_DATA: readonly [number, readonly number[]] = [42, []];
const KEY_SHARE: readonly [number, readonly number[]] = [51, [0, 36, 0, 29, 0, 32, 9, ...Buffer.alloc(31)]];

async function realClient(attempt: Attempt): Promise<Step> {
  const { run, stage, input, before, wire } = attempt;
  const { clientContext } = stage.suite.world;
  const name = input.sni ?? '';
  const client = await secure(wire, {
    servername: name,
    ...(input.clientPinsCert === true ? { ca: [] } : { secureContext: clientContext }),
    ...(input.useTicket === true && run.ticket !== undefined ? { session: run.ticket } : {}),
    ALPNProtocols: [...(input.alpn ?? ['http/1.1'])],
    ...versionOf(input),
  });
  const facts = {
    certificate: client.tls.getPeerCertificate(),
    alpn: client.tls.alpnProtocol,
    resumed: client.tls.isSessionReused(),
    error: client.error,
  };
  if (input.saveTicket === true) client.tls.once('session', (ticket: Buffer) => (run.ticket = ticket));
  if (client.wire === undefined) {
    const seen = { reply: wire.bytes, closed: true };
    return {
      stage,
      input,
      before,
      sent: Buffer.alloc(0),
      ...seen,
      outcome: await outcomeOf(stage, before, seen),
      facts,
    };
  }
  const step = await insideTls(attempt, client.wire, client.tls.alpnProtocol === 'h2');
  client.wire.destroy();
  return { ...step, facts };
}

/** A row that is about an old version offers nothing newer. */
function versionOf({ version }: Input): ConnectionOptions {
  const found = SECURE_VERSIONS.find((known) => known === version);
  return found === undefined ? {} : { minVersion: found, maxVersion: found };
}

const SECURE_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const;

/** What is said once TLS stands: the row's bytes, another ClientHello, or an ordinary request. */
async function insideTls(
  { stage, input, before, authority }: Attempt,
  wire: Wire,
  isH2: boolean,
): Promise<Step> {
  const opened = { state: 'open', wire } as const;
  const sending = { stage, input, before, opened };
  const host = hostOf(authority);
  if (input.http !== undefined) return judgeRequest(sending, messageOf(stage, input.http));
  if (input.nestedTls !== undefined) return judgeRequest(sending, [clientHello({ sni: input.nestedTls })]);
  if (isH2) return h2Get(stage, input, before, { socket: wire.socket, host });
  const upload = Buffer.alloc(input.bytesUp ?? 0, 'a');
  const head =
    upload.length === 0
      ? `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`
      : `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${upload.length}\r\n\r\n`;
  return judgeRequest(sending, [Buffer.concat([Buffer.from(head), upload])]);
}

async function waitFor(condition: () => boolean, ms: number): Promise<void> {
  const end = Date.now() + ms;
  while (!condition() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
}
