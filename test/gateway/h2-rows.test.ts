import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RequestMatch } from '../../src/policy/contract.ts';
import { HOST, newAuthority, startH2Origin } from './h2-kit.ts';
import type { H2Origin } from './h2-kit.ts';
import { startWhole, tunnelTls } from './h2-gateway-kit.ts';
import type { WholeGateway } from './h2-gateway-kit.ts';
import { RawH2 } from './h2-wire.ts';
import type { Field, RawAnswer, RawRequest } from './h2-wire.ts';
import { loadCases } from './cases/load.ts';
import { rule, sleep, talk, until } from './kit.ts';
import { readRule } from './tls-kit.ts';

interface Row {
  readonly id: string;
  readonly expect: string;
  readonly accept?: readonly string[];
  readonly why: string;
  readonly policy: string;
  readonly input: { readonly op: string; readonly streams: readonly RawRequest[]; readonly flood?: string };
}

interface CaseRule {
  readonly allow?: readonly RequestMatch[];
  readonly deny?: readonly RequestMatch[];
}

const sandbox = newAuthority();
const world = newAuthority();
const file = loadCases() as unknown as {
  cases: Row[];
  policies: Record<string, { rules?: readonly CaseRule[] }>;
};
const rows = file.cases.filter((row) => row.input.op === 'h2');
let origin: H2Origin;

beforeAll(async () => {
  origin = await startH2Origin(world, (stream, headers) => {
    const grpc = headers['content-type'] === 'application/grpc';
    stream.on('data', () => undefined);
    stream.respond({ ':status': 200 }, { waitForTrailers: grpc });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.on('end', () => stream.end('ORIGIN'));
  });
});
afterAll(() => origin.close());

/** The whole gateway under the rule for the case's host; the other hosts of the policy have theirs, too. */
function gateway(policy: string): Promise<WholeGateway> {
  const [first] = file.policies[policy]?.rules ?? [];
  const { allow = [], deny = [] } = first ?? {};
  const rules = [readRule(HOST, { allow, refuse: deny }), readRule('a.wild.test')];
  return startWhole({ sandbox, world }, rules, origin.port);
}

async function raw(whole: WholeGateway): Promise<RawH2> {
  const wire = new RawH2(await tunnelTls(whole.bench, sandbox, HOST));
  wire.start();
  return wire;
}

/** In the words of the case file. */
function outcomeOf(answer: Partial<RawAnswer>): string {
  // NO_ERROR: the answer is whole and the rest of the request is not wanted (RFC 9113 §8.1).
  if (answer.reset !== undefined && answer.reset !== 0) return 'reject';
  if (answer.grpcStatus === 0 || (answer.status === 200 && answer.grpcStatus === undefined)) return 'allow';
  if (answer.status === 400) return 'reject';
  return answer.status === undefined ? 'nothing' : 'deny';
}

/** Rows where Node's parser drops the line before anybody sees it: the rest of the request goes on, the line does not. */
const DROPPED: ReadonlySet<string> = new Set(['G11', 'G13']);

const ASSERTIONS: Readonly<Record<string, (answers: readonly RawAnswer[]) => void>> = {
  G02: ([answer]) => expect(answer?.status).toBe(421),
  G03: ([answer]) => expect(answer?.status).toBe(421),
  G06: (answers) => expect(answers.map((each) => each.status)).toEqual([200, 403]),
  G34: ([answer]) => expect(answer?.grpcStatus).toBe(0),
  G35: ([answer]) => expect(answer).toMatchObject({ status: 200, grpcStatus: 7 }),
  G37: ([answer]) => expect(answer).toMatchObject({ status: 200, grpcStatus: 7 }),
  G38: ([answer]) => expect(answer).toMatchObject({ status: 200, grpcStatus: 8 }),
};

describe('h2 rows of the case file', () => {
  test('all 27 are here', () => expect(rows.length).toBe(27));

  test.each(
    rows
      .filter((row) => row.input.flood === undefined)
      .map((row) => [row.id, row.expect, row.why, row] as const),
  )('%s %s: %s', async (id, _expect, _why, row) => {
    const whole = await gateway(row.policy);
    const before = origin.streams.length;
    const wire = await raw(whole);
    const answers = await Promise.all(
      row.input.streams.map((request) => wire.settled(wire.request(request))),
    );
    await sleep(20);
    const outcome = outcomeOf(answers.at(-1) ?? {});
    const safe = DROPPED.has(id) ? ['allow'] : [row.expect, ...(row.accept ?? [])];
    expect(safe, `${outcome} ${JSON.stringify(whole.bench.events)}`).toContain(outcome);
    ASSERTIONS[id]?.(answers);
    const seen = origin.streams.slice(before);
    expect(JSON.stringify(seen.map((each) => each.raw))).not.toContain('evil');
    // Nothing of a refused request is ever whole at the origin.
    const passed = seen.filter(({ stream }) => !stream.aborted && stream.rstCode === 0);
    expect(passed.length).toBe(row.input.streams.length - (outcome === 'allow' ? 0 : 1));
    wire.destroy();
    if (outcome !== 'allow')
      await until('a record', () => whole.bench.events.some((event) => event.action === 'deny'));
    await whole.bench.gateway.close();
  });

  test('G40 rapid reset: GOAWAY, one record, other connections unharmed', async () => {
    const whole = await gateway('P-path');
    const head: Field[] = [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':authority', HOST],
      [':path', '/v1/repos/x'],
    ];
    const other = await raw(whole);
    const wire = await raw(whole);
    for (let i = 0; i < 2_000 && !wire.closed; i++) {
      const stream = wire.headers(head, { end: true });
      wire.reset(stream);
      if (i % 50 === 0) await wire.flushed();
    }
    expect(await wire.ended()).toBe(true);
    expect(wire.goaway?.code).toBe(0xb);
    expect(whole.bench.events.filter((event) => event.rule === 'structural.http2-flood')).toHaveLength(1);
    const stream = other.request({ headers: head });
    expect((await other.settled(stream)).status).toBe(200);
    other.destroy();
    await whole.bench.gateway.close();
  });

  test('G44 reject: HTTP/2 prior knowledge in clear', async () => {
    const whole = await startWhole({ sandbox, world }, [rule('plain.allowed.test', 80)], origin.port);
    Object.assign(whole.bench.destination, { address: '198.18.0.1', port: 80 });
    const { bytes, closed } = await talk(
      whole.bench.transparent,
      ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      1_500,
    );
    expect(closed).toBe(true);
    expect(bytes.toString('latin1')).not.toContain('200 OK');
    expect(whole.bench.dialled).toEqual([]);
    expect(whole.bench.events.some((event) => event.action === 'deny')).toBe(true);
    await whole.bench.gateway.close();
  });
});
