import { clientHello } from '../hello.ts';
import { expandMessage } from './expand.ts';
import { header } from './http-text.ts';
import type { Input } from './load.ts';
import { marksOf, outcomeOf, refusalOf } from './outcome.ts';
import type { Marks, Step } from './outcome.ts';
import { socksRequest } from './run-name.ts';
import { bytesOf, hostOf, messageOf, openTls, portOfAuthority, textOf } from './session.ts';
import type { Opened, Run } from './session.ts';
import type { Stage } from './stage.ts';
import { ANSWER_MS, dial, exchange } from './wire.ts';
import type { Wire } from './wire.ts';

/** CONNECT and TLS to `dst`, then the row's bytes. */
export async function runHttp(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const opened = await run.connection(stage, input, input.dst ?? '');
  return judgeRequest({ stage, input, before, opened }, messageOf(stage, input.raw ?? ''));
}

/** The same with an answer of the row's making; then what the client does next. */
export async function runResponse(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const opened = await run.connection(stage, input, input.dst ?? '');
  const first = await judgeRequest({ stage, input, before, opened }, messageOf(stage, input.request ?? ''));
  // The origin has answered as the row says: what the client got of it decides.
  const isRefused = first.outcome === 'allow' && (first.status === undefined || isOurs(first));
  const outcome = isRefused ? 'deny' : first.outcome;
  if (typeof input.then === 'string') {
    const next = { ...input, op: 'http', raw: input.then };
    const upgraded = first.status === 101;
    return upgraded ? afterUpgrade(first, next) : runHttp(run, next);
  }
  if (input.follow !== true) return { ...first, outcome };
  const followed = await follow(run, input, first);
  return { ...first, outcome, ...(followed === undefined ? {} : { followed }) };
}

/** Bytes on a connection that is no longer HTTP. */
async function afterUpgrade(first: Step, input: Input): Promise<Step> {
  const { stage } = first;
  const wire = first.facts?.['wire'] as Wire;
  const sent = bytesOf(stage, input.raw ?? '');
  const before = marksOf(stage);
  const plain = (): number => stage.origin.arrivals.reduce((sum, { plain: all }) => sum + all.length, 0);
  const had = plain();
  await wire.send([sent]);
  await wire.until(() => plain() >= had + sent.length, 400);
  const passed = plain() > had;
  const seen = { reply: wire.bytes, closed: wire.closed };
  return {
    ...first,
    input,
    before,
    sent,
    outcome: passed ? 'allow' : refusalOf(stage, before, seen),
    ...seen,
  };
}

/** A page of the gateway's own. */
function isOurs(step: Step): boolean {
  return step.reply.includes('"detail":"glovebox:');
}

/** What a careless client does with a redirect: the same head, sent to wherever it was told. */
async function follow(run: Run, input: Input, first: Step): Promise<Step | undefined> {
  const location = header(first.replies?.responses[0] ?? NOTHING, 'location');
  if (location === undefined || !URL.canParse(location, `https://${input.dst}/`)) return undefined;
  const url = new URL(location, `https://${input.dst ?? ''}/`);
  const port = Number(url.port === '' ? (url.protocol === 'http:' ? 80 : 443) : url.port);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const request = (input.request ?? '')
    .replace(/^(\S+) \S+/, `$1 ${url.protocol === 'http:' ? url.href : url.pathname + url.search}`)
    .replace(/^host: .*$/im, `Host: ${url.host}`);
  return url.protocol === 'http:'
    ? runProxy(run, { op: 'proxy', raw: request })
    : runHttp(run, { op: 'http', dst: `${host}:${port}`, raw: request });
}

const NOTHING = { start: '', headers: [], body: Buffer.alloc(0), raw: Buffer.alloc(0) };

interface Sending {
  readonly stage: Stage;
  readonly input: Input;
  readonly before: Marks;
  readonly opened: Opened;
}

export async function judgeRequest(sending: Sending, pieces: readonly Buffer[]): Promise<Step> {
  const { stage, input, before, opened } = sending;
  const sent = Buffer.concat(pieces);
  if (opened.state === 'closed') {
    const seen = { reply: opened.reply, closed: true };
    return { stage, input, before, sent, ...seen, outcome: refusalOf(stage, before, seen) };
  }
  const { wire } = opened;
  play(stage, input);
  const replies = await exchange(wire, pieces);
  const status = replies.responses.at(-1)?.status;
  const seen = { reply: wire.bytes, closed: wire.closed, ...(status === undefined ? {} : { status }) };
  const outcome = await outcomeOf(stage, before, seen);
  return { stage, input, before, sent, replies, ...seen, outcome, facts: { wire } };
}

/** The answer that a step of a row has its origin give. */
function play(stage: Stage, { response, bytesDown }: Input): void {
  if (response !== undefined)
    stage.origin.play({ response: expandMessage(response, stage.strings, 'latin1') });
  else if (bytesDown !== undefined) {
    const head = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${bytesDown}\r\n\r\n`);
    stage.origin.play({ response: [Buffer.concat([head, Buffer.alloc(bytesDown, 'd')])] });
  }
}

/** Bytes on the proxy port: CONNECT with what follows it, or requests in absolute-form. */
export async function runProxy(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const wire = await dial(stage.bench.proxy);
  const head = messageOf(stage, input.raw ?? '');
  if (!(input.raw ?? '').startsWith('CONNECT')) {
    const step = await judgeRequest({ stage, input, before, opened: { state: 'open', wire } }, head);
    wire.destroy();
    return step;
  }
  stage.origin.opaque = true;
  const then = typeof input.then === 'object' ? input.then : {};
  const target = /HELLO:([^}]*)/.exec(then.bytes ?? '')?.[1] ?? 'api.allowed.test';
  const hello = clientHello({ sni: then.sni ?? target });
  const given = then.hex === undefined ? undefined : Buffer.from(then.hex, 'hex');
  const next = given ?? (then.bytes === undefined ? hello : bytesOf(stage, then.bytes));
  if (then.samePacket === true) await wire.send([Buffer.concat([...head, next])]);
  else {
    await wire.send(head);
    await wire.until(() => wire.bytes.length > 0, ANSWER_MS);
    await wire.send([next]);
  }
  await wire.until(() => hasAnswer(wire), ANSWER_MS);
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(wire.bytes.toString('latin1', 0, 20))?.[1] ?? 0);
  const seen = { reply: wire.bytes, closed: wire.closed, status };
  const outcome = status === 200 ? await outcomeOf(stage, before, seen) : refusalOf(stage, before, seen);
  wire.destroy();
  return { stage, input, before, sent: next, ...seen, outcome };
}

/** More than "connection established", or a refusal. */
function hasAnswer(wire: Wire): boolean {
  const text = wire.bytes.toString('latin1');
  return text.startsWith('HTTP/1.1 200')
    ? text.indexOf('\r\n\r\n') + 4 < text.length
    : text.includes('\r\n\r\n');
}

export async function runSocks(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  stage.origin.opaque = true;
  const wire = await dial(stage.bench.socks);
  const hello =
    input.pipelined === undefined
      ? clientHello({ sni: input.host ?? 'x.test' })
      : bytesOf(stage, input.pipelined);
  const head = input.op === 'socks-raw' ? Buffer.from(input.hex ?? '', 'hex') : socksHead(stage, input);
  await wire.send(input.pipelined === undefined ? [head] : [Buffer.concat([head, hello])]);
  // Method selection is two bytes, an answer to a request ten or more.
  await wire.until(() => wire.bytes.length >= 12, ANSWER_MS);
  if (input.pipelined === undefined && wire.bytes[3] === 0) await wire.send([hello]);
  if (wire.bytes[3] === 0) await wire.until(() => wire.bytes.length > 12, ANSWER_MS);
  const seen = { reply: wire.bytes, closed: wire.closed };
  const outcome = wire.bytes[3] === 0 ? await outcomeOf(stage, before, seen) : refusalOf(stage, before, seen);
  wire.destroy();
  return { stage, input, before, sent: hello, ...seen, outcome };
}

function socksHead(stage: Stage, input: Input): Buffer {
  const { cmd = 1, rsv = 0, atyp = 3, port = 443 } = input;
  const text = textOf(stage, input.host ?? '');
  const name = input.hostHex === undefined ? Buffer.from(text) : Buffer.from(input.hostHex, 'hex');
  const host = atyp === 3 || input.hostHex !== undefined ? name : addressBytes(text);
  const methods = input.methods ?? [0];
  return socksRequest(host, port, { cmd, rsv, atyp, methods });
}

/** An address in network order: dotted quads, and IPv6 in any spelling that the WHATWG parser takes. */
function addressBytes(text: string): Buffer {
  if (!text.includes(':')) return Buffer.from(text.split('.').map(Number));
  const full = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  const [left = '', right] = full.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const tail = groups(right ?? '');
  const gap = 8 - groups(left).length - tail.length;
  const all = [...groups(left), ...Array.from({ length: right === undefined ? 0 : gap }, () => '0'), ...tail];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** SOCKS, then TLS, then a request: no side door. */
export async function runSocksTls(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const wire = await dial(stage.bench.socks);
  await wire.send([socksHead(stage, input)]);
  await wire.until(() => wire.bytes.length >= 12, ANSWER_MS);
  const opened: Opened =
    wire.bytes[3] === 0
      ? await openTls(stage, wire, input.tls ?? input.host ?? '')
      : { state: 'closed', reply: wire.bytes };
  const step = await judgeRequest({ stage, input, before, opened }, messageOf(stage, input.http ?? ''));
  wire.destroy();
  return step;
}

/** A connection straight to an address, which the packet filter hands to the gateway. */
export async function runTransparent(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const dst = textOf(stage, input.dst ?? '');
  Object.assign(stage.bench.destination, { address: hostOf(dst), port: portOfAuthority(dst) });
  const wire = await dial(stage.bench.transparent);
  if (input.http !== undefined) {
    const opened = await openTls(stage, wire, input.sni ?? '');
    const step = await judgeRequest({ stage, input, before, opened }, messageOf(stage, input.http));
    wire.destroy();
    return step;
  }
  stage.origin.opaque = input.raw === undefined;
  const hello = input.sni === undefined ? Buffer.from('anything') : clientHello({ sni: input.sni });
  const bytes = input.hex === undefined ? hello : Buffer.from(input.hex, 'hex');
  const sent = input.raw === undefined ? [bytes] : messageOf(stage, input.raw);
  await wire.send(sent);
  await wire.until(() => wire.bytes.length > 0, ANSWER_MS);
  const seen = { reply: wire.bytes, closed: wire.closed };
  const outcome = await outcomeOf(stage, before, seen);
  wire.destroy();
  return { stage, input, before, sent: Buffer.concat(sent), ...seen, outcome };
}
