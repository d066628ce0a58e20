import type { FrameInput, Input } from './load.ts';
import { denialRule, marksOf, refusalOf } from './outcome.ts';
import type { Step } from './outcome.ts';
import { judgeRequest } from './run-http.ts';
import { bytesOf, hostOf } from './session.ts';
import type { Run } from './session.ts';
import type { Stage } from './stage.ts';
import { clientFrame } from './ws-frames.ts';
import { sleep } from '../kit.ts';

/** An opening, then messages; passed when the origin got every one of them whole. */
export async function runWs(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const opened = await run.connection(stage, input, input.dst ?? '');
  const opening =
    `GET ${input.path ?? '/'} HTTP/1.1\r\nHost: ${hostOf(input.dst ?? '')}\r\nUpgrade: websocket\r\n` +
    'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
  const first = await judgeRequest({ stage, input, before, opened }, [Buffer.from(opening)]);
  if (opened.state === 'closed' || first.status !== 101)
    return { ...first, outcome: refusalOf(stage, before, first) };
  const { wire } = opened;
  const frames = (input.send ?? []).map((frame) => frameOf(stage, frame));
  const whole = (input.send ?? []).filter(
    ({ fin, ping, pong, close }) => fin !== false && (ping ?? pong ?? close) === undefined,
  ).length;
  await wire.send(frames);
  const isDone = (): boolean =>
    wire.closed ||
    stage.origin.messages.length >= before.messages + whole ||
    denialRule(stage, before) !== undefined;
  for (let i = 0; i < 400 && !isDone(); i++) await sleep(5);
  const passed = stage.origin.messages.length >= before.messages + whole;
  const seen = { reply: wire.bytes, closed: wire.closed };
  const sent = Buffer.concat(frames.map((frame) => frame.subarray(0, 1_000)));
  return { stage, input, before, sent, ...seen, outcome: passed ? 'allow' : refusalOf(stage, before, seen) };
}

const OPCODES = { cont: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

function frameOf(stage: Stage, frame: FrameInput): Buffer {
  const kind = (['text', 'binary', 'cont', 'ping', 'pong'] as const).find(
    (name) => frame[name] !== undefined,
  );
  const text = kind === undefined ? '' : (frame[kind] ?? '');
  const { close = 1_000 } = frame;
  const closing = frame.close === undefined ? Buffer.alloc(0) : Buffer.from([close >> 8, close & 0xff]);
  const data = frame.hex === undefined ? bytesOf(stage, text) : Buffer.from(frame.hex, 'hex');
  const opcode = frame.opcode ?? OPCODES[kind ?? (frame.close === undefined ? 'binary' : 'close')];
  const flags = { fin: frame.fin ?? true, rsv1: frame.rsv1 ?? false, mask: frame.mask ?? true };
  return clientFrame(opcode, closing.length > 0 ? closing : data, flags);
}
