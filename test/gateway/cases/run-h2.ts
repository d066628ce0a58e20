import type { Duplex } from 'node:stream';
import { frame, FRAME, headerBlock, RawH2 } from '../h2-wire.ts';
import type { Field, RawAnswer } from '../h2-wire.ts';
import { expandBytes } from './expand.ts';
import type { Input, StreamInput } from './load.ts';
import { denialRule, marksOf, refusalOf } from './outcome.ts';
import type { Marks, Outcome, Step } from './outcome.ts';
import { hostOf } from './session.ts';
import type { Run } from './session.ts';
import type { Stage } from './stage.ts';
import { ANSWER_MS, connectThrough, dial, secure } from './wire.ts';
import { sleep } from '../kit.ts';

/** Streams frame by frame, on one connection; judged by the last. */
export async function runH2(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const h2 = await openH2(stage, input.dst ?? '');
  if (h2 === undefined) {
    const seen = { reply: Buffer.alloc(0), closed: true };
    return { stage, input, before, sent: seen.reply, ...seen, outcome: refusalOf(stage, before, seen) };
  }
  if (input.flood !== undefined) return flood(stage, input, before, h2);
  const answers: RawAnswer[] = [];
  const outcomes: Outcome[] = [];
  for (const stream of input.streams ?? []) {
    const at = marksOf(stage);
    const id = h2.request(filled(stage, stream));
    const answer = await h2.settled(id, ANSWER_MS);
    answers.push(answer);
    outcomes.push(await outcomeOf(stage, at, answer, h2));
  }
  h2.destroy();
  const last = answers.at(-1);
  return {
    stage,
    input,
    before,
    sent: Buffer.from(JSON.stringify(input.streams)),
    reply: last?.body ?? Buffer.alloc(0),
    closed: h2.closed,
    ...(last?.status === undefined ? {} : { status: last.status }),
    outcome: outcomes.at(-1) ?? 'drop',
    facts: { answers, outcomes, goaway: h2.goaway },
  };
}

async function openH2(stage: Stage, authority: string): Promise<RawH2 | undefined> {
  const wire = await dial(stage.bench.proxy);
  if (!(await connectThrough(wire, authority))) return undefined;
  const { clientContext } = stage.suite.world;
  const client = await secure(wire, {
    servername: hostOf(authority),
    secureContext: clientContext,
    ALPNProtocols: ['h2', 'http/1.1'],
  });
  if (client.wire === undefined || client.tls.alpnProtocol !== 'h2') return undefined;
  const h2 = new RawH2(client.tls);
  h2.start();
  return h2;
}

function filled(stage: Stage, { headers, body, trailers }: StreamInput): StreamInput {
  const fill = (text: string): string => expandBytes(text, stage.strings).toString('latin1');
  const fields = (list: readonly Field[]): Field[] => list.map(([name, value]) => [fill(name), fill(value)]);
  return {
    headers: fields(headers),
    ...(body === undefined ? {} : { body: fill(body) }),
    ...(trailers === undefined ? {} : { trailers: fields(trailers) }),
  };
}

/** A stream that the origin got whole passed; else the answer says what kind of "no" it was. */
async function outcomeOf(stage: Stage, before: Marks, answer: RawAnswer, h2: RawH2): Promise<Outcome> {
  await sleep(10);
  if (stage.origin.requests.length > before.requests) return 'allow';
  if (answer.reset !== undefined && answer.reset !== 0) return 'reject';
  const status = answer.status === undefined ? {} : { status: answer.status };
  const seen = { reply: answer.body, closed: h2.closed, ...status };
  if (answer.status === 200 && answer.grpcStatus !== undefined && answer.grpcStatus !== 0) return 'deny';
  return refusalOf(stage, before, seen);
}

/** More of something than anybody needs, until the gateway has had enough; another connection is asked afterwards. */
async function flood(stage: Stage, input: Input, before: Marks, h2: RawH2): Promise<Step> {
  const other = await openH2(stage, input.dst ?? '');
  const head = headOf(hostOf(input.dst ?? ''), '/v1/repos/x');
  const text = input.flood ?? '';
  const times = Number(/(\d+)\s*$/.exec(text)?.[1] ?? 2_000);
  const [, once] = FLOODS.find(([pattern]) => pattern.test(text)) ?? [undefined, resetOne];
  for (let i = 0; i < times && !h2.closed; i++) {
    once(h2, head, i);
    if (i % 50 === 0) await h2.flushed();
  }
  const ended = await h2.ended(ANSWER_MS);
  // One that was idle for too long meanwhile is no victim of the flood.
  const asked = other?.closed === true ? await openH2(stage, input.dst ?? '') : other;
  const id = asked?.request({ headers: head }) ?? 1;
  const answer = await asked?.settled(id, ANSWER_MS);
  asked?.destroy();
  const outcome: Outcome = ended && denialRule(stage, before) !== undefined ? 'deny' : 'allow';
  const facts = { goaway: h2.goaway, otherStatus: answer?.status };
  return {
    stage,
    input,
    before,
    sent: Buffer.alloc(0),
    reply: Buffer.alloc(0),
    closed: ended,
    outcome,
    facts,
  };
}

type FloodOnce = (h2: RawH2, head: Field[], turn: number) => void;

const resetOne: FloodOnce = (h2, head) => {
  h2.reset(h2.headers(head, { end: true }));
};

/** What a row's words for a flood mean. */
const FLOODS: readonly (readonly [RegExp, FloodOnce])[] = [
  [
    /CONTINUATION/i,
    (h2, head, turn) => void (turn === 0 ? h2.headers(head, { leaveOpen: true }) : h2.send(CONTINUATION)),
  ],
  [/PING/i, (h2) => void h2.ping()],
  [/SETTINGS/i, (h2) => void h2.settings([[3, 100]])],
  [/WINDOW/i, (h2) => void h2.windowUpdate(0, 1)],
  [/PRIORITY/i, (h2) => void h2.send(frame(FRAME.priority, 0, 1, Buffer.from([0, 0, 0, 0, 1])))],
  [/empty DATA|DATA/i, (h2, head, turn) => h2.data(turn === 0 ? h2.headers(head) : 1, '', false)],
  [/RST|reset/i, resetOne],
];

const CONTINUATION = frame(FRAME.continuation, 0, 1, headerBlock([['x-more', 'a'.repeat(1_000)]]));

function headOf(host: string, path: string): Field[] {
  return [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':authority', host],
    [':path', path],
  ];
}

/** One ordinary request on a connection that speaks HTTP/2. */
export async function h2Get(
  stage: Stage,
  input: Input,
  before: Marks,
  { socket, host }: { readonly socket: Duplex; readonly host: string },
): Promise<Step> {
  const h2 = new RawH2(socket);
  h2.start();
  const id = h2.request({ headers: headOf(host, '/') });
  const answer = await h2.settled(id, ANSWER_MS);
  const outcome = await outcomeOf(stage, before, answer, h2);
  const status = answer.status === undefined ? {} : { status: answer.status };
  return {
    stage,
    input,
    before,
    sent: Buffer.alloc(0),
    reply: answer.body,
    closed: h2.closed,
    outcome,
    ...status,
  };
}

/** The preface in clear text, to a host whose rule is for plain HTTP. */
export async function runH2Cleartext(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const sent = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1');
  const wire = await dial(stage.bench.proxy);
  if (await connectThrough(wire, input.dst ?? '')) {
    await wire.send([sent]);
    await wire.until(() => wire.bytes.length > 0, ANSWER_MS);
    await wire.quiet(20);
  }
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(wire.bytes.toString('latin1', 0, 20))?.[1] ?? 0);
  const seen = { reply: wire.bytes, closed: wire.closed, status };
  const passed = stage.origin.arrivals.some(({ raw }) => raw.length > 0);
  wire.destroy();
  return { stage, input, before, sent, ...seen, outcome: passed ? 'allow' : refusalOf(stage, before, seen) };
}
