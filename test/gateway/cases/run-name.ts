import { clientHello } from '../hello.ts';
import { askDns, dnsQuery } from '../dns-client.ts';
import type { Input } from './load.ts';
import { marksOf, outcomeOf, refusalOf } from './outcome.ts';
import type { Marks, Outcome, Step } from './outcome.ts';
import { bytesOf, openTls, textOf } from './session.ts';
import type { Run } from './session.ts';
import { ruleOf } from './stage.ts';
import type { Stage } from './stage.ts';
import { ANSWER_MS, dial, exchange } from './wire.ts';
import type { Wire } from './wire.ts';

/** A destination as a CONNECT authority, followed by what its rule wants to see. */
export async function runName(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const host = textOf(stage, input.host ?? '');
  const port = input.port ?? 443;
  const isAddress = host.includes(':') && !host.startsWith('[');
  const before = marksOf(stage);
  const wire = await dial(stage.bench.proxy);
  const authority = `${isAddress ? `[${host}]` : host}:${port}`;
  await wire.send([Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`, 'utf8')]);
  await wire.until(() => wire.bytes.includes('\r\n\r\n'), ANSWER_MS);
  const isOpen = wire.bytes.toString('latin1', 0, 12) === 'HTTP/1.1 200';
  return enter({ run, stage, input, before, wire, host, port, isOpen });
}

/** The same through SOCKS 5, in the domain form. */
export async function runNameOverSocks(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const host = textOf(stage, input.host ?? '');
  const port = input.port ?? 443;
  const before = marksOf(stage);
  const wire = await dial(stage.bench.socks);
  await wire.send([socksRequest(Buffer.from(host, 'utf8').subarray(0, 255), port)]);
  await wire.until(() => wire.bytes.length >= 4, ANSWER_MS);
  const isOpen = wire.bytes[3] === 0;
  return enter({ run, stage, input, before, wire, host, port, isOpen });
}

/** The same as a question to the name server: a name that is answered may be connected to. */
export async function runNameOverDns(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const labels = bytesOf(stage, input.host ?? '')
    .toString('latin1')
    .replace(/\.$/, '')
    .split('.')
    .map((label) => Buffer.from(label, 'latin1'));
  const isSayable = labels.every((label) => label.length > 0 && label.length < 64);
  const reply = isSayable ? await askDns(stage.bench.dnsUdp, dnsQuery(labels)) : undefined;
  const refused: Outcome = reply === undefined || reply.rcode === 1 ? 'reject' : 'deny';
  const outcome = reply?.addresses.length === 1 ? 'allow' : refused;
  const bytes = reply?.bytes ?? Buffer.alloc(0);
  return { input, stage, before, outcome, reply: bytes, closed: true, sent: Buffer.alloc(0) };
}

interface Entry {
  readonly run: Run;
  readonly stage: Stage;
  readonly input: Input;
  readonly before: Marks;
  readonly wire: Wire;
  readonly host: string;
  readonly port: number;
  readonly isOpen: boolean;
}

async function enter(entry: Entry): Promise<Step> {
  const { stage, input, before, wire, host, port, isOpen } = entry;
  const name = host.toLowerCase().replace(/\.$/, '');
  const rule = ruleOf(stage, host, port);
  const reads = rule?.requests !== undefined;
  const first = wire.bytes;
  let seen = { reply: first, closed: wire.closed };
  let sent: Buffer = Buffer.alloc(0);
  if (isOpen && reads) {
    const opened = await openTls(stage, wire, name);
    sent = Buffer.from(`GET / HTTP/1.1\r\nHost: ${name}\r\n\r\n`);
    if (opened.state === 'open') {
      await exchange(opened.wire, [sent]);
      seen = { reply: opened.wire.bytes, closed: opened.wire.closed };
    } else seen = { reply: opened.reply, closed: true };
  } else if (isOpen) {
    stage.origin.opaque = rule?.protocol !== 'http';
    sent = greetingOf(rule?.protocol, name);
    await wire.send([sent]);
    await wire.until(() => wire.bytes.length > first.length, ANSWER_MS);
    seen = { reply: wire.bytes, closed: wire.closed };
  } else {
    await wire.until(() => false, 50);
  }
  const outcome = isOpen ? await outcomeOf(stage, before, seen) : refusalOf(stage, before, seen);
  wire.destroy();
  return { input, stage, before, outcome, sent, ...seen };
}

/** First bytes that suit a protocol which the gateway only looks at. */
function greetingOf(protocol: string | undefined, name: string): Buffer {
  if (protocol === 'tcp') return Buffer.from('anything');
  if (protocol === 'http') return Buffer.from(`GET / HTTP/1.1\r\nHost: ${name}\r\n\r\n`);
  return clientHello({ sni: /^[\d.]+$/.test(name) ? null : name });
}

export interface SocksParts {
  /** Offered ways to log in; 0 is none. */
  readonly methods?: readonly number[];
  readonly cmd?: number;
  readonly rsv?: number;
  readonly atyp?: number;
}

export function socksRequest(host: Uint8Array, port: number, more: SocksParts = {}): Buffer {
  const length = (more.atyp ?? 3) === 3 ? [host.length] : [];
  const methods = more.methods ?? [0];
  const head = [5, methods.length, ...methods, 5, more.cmd ?? 1, more.rsv ?? 0, more.atyp ?? 3, ...length];
  return Buffer.concat([Buffer.from(head), host, Buffer.from([port >> 8, port & 0xff])]);
}
