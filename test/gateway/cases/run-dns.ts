import { expect } from 'vitest';
import { clientHello } from '../hello.ts';
import { askDns, dnsQuery } from '../dns-client.ts';
import type { DnsReply } from '../dns-client.ts';
import type { Input } from './load.ts';
import { marksOf, outcomeOf } from './outcome.ts';
import type { Outcome, Step } from './outcome.ts';
import { bytesOf, textOf } from './session.ts';
import { runTransparent } from './run-http.ts';
import type { Run } from './session.ts';
import { ruleOf } from './stage.ts';
import { ANSWER_MS, connectThrough, dial } from './wire.ts';

function labelsOf(name: Buffer): Buffer[] {
  const text = name.toString('latin1').replace(/\.$/, '');
  return text.split('.').map((label) => Buffer.from(label, 'latin1'));
}

const OPCODES: Readonly<Record<string, number>> = { IQUERY: 1, STATUS: 2, NOTIFY: 4, UPDATE: 5 };

/** A question to the gateway's own server, which is all that a sandbox can reach, whatever server it names. */
export async function runDns(run: Run, input: Input): Promise<Step> {
  // Over TLS or HTTPS it is a connection to the server's address.
  const isElsewhere = input.server !== undefined && !/^(udp|tcp)?$/.test(input.transport ?? '');
  if (isElsewhere) return runTransparent(run, { ...input, dst: input.server ?? '' });
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const query =
    input.op === 'dns-raw'
      ? Buffer.from(input.hex ?? '', 'hex')
      : dnsQuery(labelsOf(bytesOf(stage, input.name ?? '')), {
          type: input.type ?? 'A',
          class: input.class ?? 'IN',
          opcode: OPCODES[input.opcode ?? ''] ?? 0,
          edns: input.edns !== undefined,
        });
  const isTcp = input.transport === 'tcp';
  const reply = await askDns(isTcp ? stage.bench.dnsTcp : stage.bench.dnsUdp, query, isTcp);
  // Nothing is ever asked on a sandbox's question.
  expect(stage.bench.asked).toEqual([]);
  expect(stage.bench.dialled).toEqual([]);
  const bytes = reply?.bytes ?? Buffer.alloc(0);
  return { input, stage, before, outcome: dnsOutcome(reply), reply: bytes, closed: true, sent: query };
}

function dnsOutcome(reply: DnsReply | undefined): Outcome {
  if (reply === undefined) return 'drop';
  if (reply.addresses.length > 0) return 'allow';
  return reply.rcode === 1 ? 'reject' : 'deny';
}

/** A connection whose name resolves as the step says: `second` is for every question after the first. */
export async function runResolve(run: Run, input: Input): Promise<Step> {
  let asked = 0;
  run.resolver = () => {
    if (input.timeout === true) return new Promise<never>(() => undefined);
    // A resolver that was answered for another name has no answer for this one.
    if (input.answerName !== undefined) return Promise.resolve([]);
    if (input.rcode !== undefined) return Promise.reject(new Error(input.rcode));
    const answers = asked++ === 0 ? input.answers : (input.second ?? input.answers);
    return Promise.resolve((answers ?? []).map((text) => textOf(stage, text)));
  };
  const stage = await run.stage(input);
  const host = input.host ?? '';
  const port = input.port ?? 443;
  const before = marksOf(stage);
  const wire = await dial(stage.bench.proxy);
  const isTcp = ruleOf(stage, host, port)?.protocol === 'tcp';
  const sent = isTcp ? Buffer.from('anything') : clientHello({ sni: host });
  stage.origin.opaque = true;
  if (await connectThrough(wire, `${host}:${port}`)) {
    await wire.send([sent]);
    await wire.until(() => wire.bytes.length > 0, ANSWER_MS);
  }
  const seen = { reply: wire.bytes, closed: wire.closed };
  const outcome = await outcomeOf(stage, before, seen);
  wire.destroy();
  return { input, stage, before, outcome, sent, ...seen };
}
