import type { NetworkEvent } from '../../../src/gateway/contract.ts';
import { startBench, startOrigin } from '../kit.ts';
import type { Bench, BenchOptions, Origin } from '../kit.ts';
import type { Case, CaseFile } from './load.ts';
import { translate } from './policies.ts';

/** What became of an attempt, in the words of the case file. */
export type Outcome = 'allow' | 'deny' | 'reject' | 'drop';

/** A gateway with an origin, for one row. */
export interface Stage {
  readonly bench: Bench;
  readonly origin: Origin;
  close(): Promise<void>;
}

export const SERVER_BYTES = 'ORIGIN-SAYS-HELLO';

/** The origin greets TLS and opaque clients with fixed bytes, and answers each complete HTTP head. */
export async function stageFor(file: CaseFile, row: Case, more: Partial<BenchOptions> = {}): Promise<Stage> {
  let answered = 0;
  const origin = await startOrigin((socket, all) => {
    if (!/^[A-Z]+ \S+ HTTP/.test(all.toString('latin1'))) return void socket.write(SERVER_BYTES);
    if (!isComplete(all) || answered++ > 0) return undefined;
    return void socket.write(
      Buffer.from(row.input.response ?? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'latin1'),
    );
  });
  const answers = Object.fromEntries(
    Object.entries(file.fixtures.names).map(([name, entry]) => [name, entry.A]),
  );
  const bench = await startBench({
    policy: translate(row),
    origin: origin.port,
    answers,
    limits: LIMITS,
    ...more,
  });
  const close = async (): Promise<void> => {
    await bench.gateway.close();
    await origin.close();
  };
  return { bench, origin, close };
}

const LIMITS = {
  handshakeMs: 300,
  headMs: 400,
  idleMs: 400,
  resolveMs: 200,
  dialMs: 200,
  lingerMs: 200,
  connections: 256,
} as const;

/** Judges by what reached the origin; a refusal is told apart by its record, a failure by what the client saw. */
export function outcomeOf(stage: Stage, got: { readonly bytes: Buffer; readonly closed: boolean }): Outcome {
  if (stage.origin.received.some(isComplete)) return 'allow';
  const denial = stage.bench.events.find((event) => event.action === 'deny');
  if (denial !== undefined) return kindOf(denial);
  return got.closed || /HTTP\/1\.1 [45]/.test(got.bytes.toString('latin1')) ? 'deny' : 'drop';
}

/** A request whose body never ends is no request: the origin cannot act on it. */
function isComplete(bytes: Buffer): boolean {
  const text = bytes.toString('latin1');
  if (bytes.length === 0) return false;
  if (!/^[A-Z]+ \S+ HTTP/.test(text)) return true;
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const [head, body] = [text.slice(0, end), text.slice(end + 4)];
  if (/^transfer-encoding: *chunked/im.test(head)) return text.endsWith('0\r\n\r\n');
  return body.length >= Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
}

function kindOf(event: NetworkEvent): 'deny' | 'reject' {
  return event.rule === 'structural.malformed' ? 'reject' : 'deny';
}
