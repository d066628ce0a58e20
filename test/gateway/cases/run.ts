import { expect } from 'vitest';
import { clientHello } from '../hello.ts';
import { HONEST, talk } from '../kit.ts';
import { askDns, dnsQuery } from '../dns-client.ts';
import { expand } from './load.ts';
import type { Case, CaseFile, Input } from './load.ts';
import { outcomeOf, stageFor } from './outcome.ts';
import type { Outcome, Stage } from './outcome.ts';
import { translate } from './policies.ts';

/** Result of one row: the outcome, what the client got, and the stage for further assertions. */
export interface Result {
  readonly outcome: Outcome;
  readonly reply: Buffer;
  readonly closed: boolean;
  readonly stage: Stage;
}

/** Runs a row by its operation, through every entry that can express it; the entries must agree. */
export async function runCase(file: CaseFile, row: Case): Promise<Result[]> {
  switch (row.input.op) {
    case 'name':
      return runName(file, row);
    case 'resolve':
      return [await runResolve(file, row, row.input)];
    case 'sequence':
      return [await runSequence(file, row)];
    case 'dns':
    case 'dns-raw':
      return [await runDns(file, row)];
    case 'transparent':
    case 'packet':
      return [await runTransparent(file, row)];
    case 'proxy':
      return [await runProxy(file, row)];
    case 'socks5':
    case 'socks-raw':
      return [await runSocks(file, row)];
    case 'tls':
    case 'tls-raw':
      return [await (row.input.http === undefined ? runTls(file, row) : runHttp(file, row))];
    case 'http':
    case 'response':
      return [await runHttp(file, row)];
    default:
      throw new Error(`no runner for ${row.input.op}`);
  }
}

async function finish(stage: Stage, got: { bytes: Buffer; closed: boolean }): Promise<Result> {
  const result = { outcome: outcomeOf(stage, got), reply: got.bytes, closed: got.closed, stage };
  await stage.close();
  return result;
}

function connectHead(authority: string): string {
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
}

/** The first bytes that suit the rule: a ClientHello for the canonical name, or anything. */
function payload(row: Case, host: string): Uint8Array {
  if (row.policy === 'P-open' || row.policy === 'P-private') return Buffer.from('anything');
  return clientHello({ sni: host.toLowerCase().replace(/\.$/, '') });
}

async function runName(file: CaseFile, row: Case): Promise<Result[]> {
  const host = expand(row.input.host ?? '');
  const port = row.input.port ?? 443;
  const text = Buffer.from(host, 'utf8');
  const results: Result[] = [];
  const viaSocks = await stageFor(file, row);
  results.push(
    await finish(
      viaSocks,
      await talk(viaSocks.bench.socks, [socksRequest(text.subarray(0, 255), port), payload(row, host)]),
    ),
  );
  const viaConnect = await stageFor(file, row);
  const authority = Buffer.from(
    connectHead(`${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`),
    'utf8',
  );
  results.push(await finish(viaConnect, await talk(viaConnect.bench.proxy, [authority, payload(row, host)])));
  if (row.policy === 'P-base' && row.id !== 'H68' && row.id !== 'I01')
    results.push(await nameOverDns(file, row, host));
  return results;
}

async function nameOverDns(file: CaseFile, row: Case, host: string): Promise<Result> {
  const stage = await stageFor(file, row);
  const labels = host
    .replace(/\.$/, '')
    .split('.')
    .map((label) => Buffer.from(label, 'utf8'));
  const reply = labels.some((label) => label.length > 63 || label.length === 0)
    ? undefined
    : await askDns(stage.bench.dnsUdp, dnsQuery(labels));
  // A name server tells "malformed" from "not allowed" by its code; rows that cannot be asked at all count as malformed.
  const refused: Outcome = reply === undefined || reply.rcode === 1 ? 'reject' : 'deny';
  const outcome: Outcome = reply?.addresses.length === 1 ? 'allow' : refused;
  await stage.close();
  return { outcome, reply: Buffer.alloc(0), closed: false, stage };
}

async function runResolve(file: CaseFile, row: Case, input: Input, stage?: Stage): Promise<Result> {
  let asked = 0;
  const host = input.host ?? '';
  const port = input.port ?? 443;
  const resolver = {
    resolve: (): Promise<readonly string[]> => {
      if (input.timeout === true) return new Promise<never>(() => undefined);
      const answers = asked++ === 0 ? input.answers : (input.second ?? input.answers);
      return Promise.resolve((answers ?? []).map(expand));
    },
  };
  const dialFails = input.dialFails ?? [];
  const on = stage ?? (await stageFor(file, row, { resolver, dialFails }));
  const got = await talk(on.bench.proxy, [connectHead(`${host}:${port}`), payload(row, host)], 400);
  for (const { address } of on.bench.dialled)
    expect(['127.0.0.1', '::1', '169.254.169.254', '0.0.0.0']).not.toContain(address);
  return finish(on, got);
}

/** Steps on one gateway; judged by the last. The resolver follows the steps. */
async function runSequence(file: CaseFile, row: Case): Promise<Result> {
  const steps = row.input.steps ?? [];
  const [first] = steps;
  if (first?.op === 'dns') return runNameFlood(file, row);
  if (first?.op === 'proxy') return runProxy(file, { ...row, input: first });
  if (first?.op !== 'resolve') throw new Error(`no runner for a sequence of ${first?.op ?? 'nothing'}`);
  let step = 0;
  const resolver = { resolve: (): Promise<readonly string[]> => Promise.resolve(steps[step]?.answers ?? []) };
  const stage = await stageFor(file, row, { resolver });
  for (; step < steps.length - 1; step++) {
    const host = steps[step]?.host ?? '';
    await talk(stage.bench.proxy, [connectHead(`${host}:443`), clientHello({ sni: host })]);
  }
  const before = stage.origin.received.length;
  expect(before).toBe(1);
  const host = steps[step]?.host ?? '';
  const got = await talk(stage.bench.proxy, [connectHead(`${host}:443`), clientHello({ sni: host })]);
  await stage.close();
  return {
    outcome: stage.origin.received.length > before ? 'allow' : 'deny',
    reply: got.bytes,
    closed: got.closed,
    stage,
  };
}

async function runNameFlood(file: CaseFile, row: Case): Promise<Result> {
  const stage = await stageFor(file, row);
  let last: Awaited<ReturnType<typeof askDns>>;
  for (let i = 0; i < 200; i++) last = await askDns(stage.bench.dnsUdp, dnsQuery([`h${i}`, 'wild', 'test']));
  await stage.close();
  expect(stage.bench.asked).toEqual([]);
  return {
    outcome: last?.addresses.length === 1 ? 'allow' : 'deny',
    reply: Buffer.alloc(0),
    closed: false,
    stage,
  };
}

async function runDns(file: CaseFile, row: Case): Promise<Result> {
  const { input } = row;
  const stage = await stageFor(file, row);
  const query =
    input.op === 'dns-raw'
      ? Buffer.from(input.hex ?? '', 'hex')
      : dnsQuery((input.name ?? '').split('.'), {
          type: input.type ?? 'A',
          opcode: input.opcode === 'NOTIFY' ? 4 : 0,
          edns: input.edns !== undefined,
        });
  const reply = await askDns(
    input.transport === 'tcp' ? stage.bench.dnsTcp : stage.bench.dnsUdp,
    query,
    input.transport === 'tcp',
  );
  expect(stage.bench.asked).toEqual([]);
  expect(stage.bench.dialled).toEqual([]);
  await stage.close();
  const outcome = dnsOutcome(reply);
  if (outcome === 'allow') expect(reply?.addresses[0]).toMatch(/^198\.1[89]\./);
  return { outcome, reply: reply?.bytes ?? Buffer.alloc(0), closed: false, stage };
}

function dnsOutcome(reply: Awaited<ReturnType<typeof askDns>>): Outcome {
  if (reply === undefined) return 'drop';
  if (reply.addresses.length > 0) return 'allow';
  return reply.rcode === 1 ? 'reject' : 'deny';
}

async function runTransparent(file: CaseFile, row: Case): Promise<Result> {
  const stage = await stageFor(file, row);
  const { input } = row;
  const parts = /^\[?(.*?)\]?:(\d+)$/.exec(
    (input.dst ?? '').replace('${SYN:api.allowed.test}', '198.18.0.1'),
  );
  Object.assign(stage.bench.destination, {
    address: expand(parts?.[1] ?? ''),
    port: Number(parts?.[2]?.replace('${ADMIN_PORT}', '9999')),
  });
  if (input.dst?.includes('ADMIN_PORT') === true)
    Object.assign(stage.bench.destination, { address: '127.0.0.1', port: 9999 });
  const first = input.raw ?? (input.sni === undefined ? 'anything' : clientHello({ sni: input.sni }));
  const got = await talk(stage.bench.transparent, [first], 1_300);
  expect(stage.bench.dialled.filter((entry) => entry.address !== HONEST)).toEqual([]);
  return finish(stage, got);
}

async function runProxy(file: CaseFile, row: Case): Promise<Result> {
  const stage = await stageFor(file, row);
  const { input } = row;
  const then = input.then;
  const bytes = then?.bytes?.replace(/^\$\{HELLO:.*\}$/, '');
  const hello = clientHello({
    sni: then?.sni ?? /HELLO:([^}]*)/.exec(then?.bytes ?? '')?.[1] ?? 'api.allowed.test',
  });
  const follow = bytes === undefined || bytes === '' ? hello : Buffer.from(bytes);
  const head = Buffer.from(expand(input.raw ?? ''), 'utf8');
  const connect = (input.raw ?? '').startsWith('CONNECT');
  const pieces =
    then?.samePacket === true ? [Buffer.concat([head, follow])] : connect ? [head, follow] : [head];
  const got = await talk(stage.bench.proxy, pieces, 100);
  if (then?.samePacket === true) expect(stage.origin.received[0]).toEqual(hello);
  return finish(stage, got);
}

function socksRequest(
  host: Uint8Array,
  port: number,
  more: { cmd?: number; rsv?: number; atyp?: number; after?: Uint8Array } = {},
): Buffer {
  const length = (more.atyp ?? 3) === 3 ? [host.length] : [];
  const head = [5, 1, 0, 5, more.cmd ?? 1, more.rsv ?? 0, more.atyp ?? 3, ...length];
  return Buffer.concat([
    Buffer.from(head),
    host,
    Buffer.from([port >> 8, port & 0xff]),
    more.after ?? Buffer.alloc(0),
  ]);
}

async function runSocks(file: CaseFile, row: Case): Promise<Result> {
  const stage = await stageFor(file, row);
  const { input } = row;
  if (input.op === 'socks-raw')
    return finish(stage, await talk(stage.bench.socks, [Buffer.from(input.hex ?? '', 'hex')]));
  const name =
    input.hostHex === undefined ? Buffer.from(input.host ?? '') : Buffer.from(input.hostHex, 'hex');
  // The only IPv6 row is the mapped loopback.
  const host = input.atyp === 4 ? Buffer.from('00000000000000000000ffff7f000001', 'hex') : name;
  const hello = clientHello({ sni: input.host ?? 'x.test' });
  const more = { cmd: input.cmd ?? 1, rsv: input.rsv ?? 0, atyp: input.atyp ?? 3 };
  const request = socksRequest(
    host,
    input.port ?? 443,
    input.pipelined === undefined ? more : { ...more, after: hello },
  );
  const got = await talk(
    stage.bench.socks,
    input.pipelined === undefined ? [request, hello] : [request],
    100,
  );
  if (input.pipelined !== undefined) expect(stage.origin.received[0]).toEqual(hello);
  return finish(stage, got);
}

async function runTls(file: CaseFile, row: Case): Promise<Result> {
  const { input } = row;
  // Rows of the terminating policy that are about the name alone run against the same rules as passthrough.
  const stage = await stageFor(file, row, { policy: translate({ ...row, policy: 'P-base' }) });
  const authority = input.authority ?? '';
  const raw = input.hex === undefined ? undefined : Buffer.from(input.hex, 'hex');
  const hello =
    raw ??
    clientHello({
      sni: input.sni ?? null,
      ...(input.sniHex === undefined ? {} : { sniList: [Buffer.from(input.sniHex, 'hex')] }),
      ...(input.sniList === undefined ? {} : { sniList: input.sniList }),
      ...(input.sniExtensions === undefined ? {} : { sniExtensions: input.sniExtensions }),
      ech: input.ext?.includes('ech_outer') === true,
      records: input.records ?? 1,
    });
  const size = Math.ceil(hello.length / (input.segments ?? 1));
  const segments = Array.from({ length: input.segments ?? 1 }, (_, i) =>
    hello.subarray(i * size, (i + 1) * size),
  );
  const got = await talk(stage.bench.proxy, [connectHead(authority), ...segments], 100);
  if (outcomeOf(stage, got) === 'allow') expect(stage.origin.received[0]).toEqual(hello);
  return finish(stage, got);
}

/** Over plain HTTP on a transparent connection to the row's host. */
async function runHttp(file: CaseFile, row: Case): Promise<Result> {
  const { input } = row;
  const stage = await stageFor(file, row);
  const host = (input.dst ?? input.authority ?? '').replace(/:\d+$/, '');
  const reply = await askDns(stage.bench.dnsUdp, dnsQuery(host.split('.')));
  Object.assign(stage.bench.destination, { address: reply?.addresses[0] ?? '198.18.9.9', port: 80 });
  const raw = Buffer.from(expand(input.raw ?? input.request ?? input.http ?? ''), 'utf8');
  const got = await talk(stage.bench.transparent, [raw], 200);
  return finish(stage, got);
}
