import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openAudit } from '../../../src/audit/writer.ts';
import { verifyAudit } from '../../../src/audit/verify.ts';
import { createGateway } from '../../../src/gateway/gateway.ts';
import type { Gateway } from '../../../src/gateway/contract.ts';
import type { NetworkPolicy } from '../../../src/policy/contract.ts';
import { clientHello } from '../hello.ts';
import { attachTcp, portOf, talk, until } from '../kit.ts';
import type { Input } from './load.ts';
import { denialRule, marksOf, outcomeOf, refusalOf } from './outcome.ts';
import type { Outcome, Step } from './outcome.ts';
import { readConfig } from './run-config.ts';
import { runHttp } from './run-http.ts';
import { textOf } from './session.ts';
import type { Run } from './session.ts';
import { secretFor } from './values.ts';
import { ANSWER_MS, connectThrough, dial } from './wire.ts';

const NOTHING = Buffer.alloc(0);

async function done(run: Run, input: Input, outcome: Outcome, facts: Step['facts'] = {}): Promise<Step> {
  const stage = await run.stage(input);
  return {
    stage,
    input,
    before: marksOf(stage),
    sent: NOTHING,
    reply: NOTHING,
    closed: false,
    outcome,
    facts,
  };
}

/** A gateway whose policy can be replaced while it runs. */
interface Updatable extends Gateway {
  update(next: { readonly policy: NetworkPolicy }): { readonly closed: number };
}

export function canUpdate(gateway: object): gateway is Updatable {
  return 'update' in gateway && typeof gateway.update === 'function';
}

/** Reads a new configuration and puts it in force; one that does not load changes nothing. */
export async function reload(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const { raw, network } = input;
  if (raw !== undefined && !isJson(raw)) return done(run, input, 'config-error', { said: 'not JSON' });
  const isSame = typeof network === 'object' && network !== null && 'same' in network;
  const read = isSame ? undefined : readConfig(raw === undefined ? network : (JSON.parse(raw) as unknown));
  if (read !== undefined && read.loaded === undefined)
    return done(run, input, 'config-error', { said: read.said });
  const policy = read?.loaded?.network ?? reordered(stage.network);
  if (!canUpdate(stage.bench.gateway)) throw new Error('Gateway.update is not there yet');
  const result = stage.bench.gateway.update({ policy });
  return done(run, input, 'allow', { ...result });
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The same policy with its keys in another order. */
function reordered(policy: NetworkPolicy): NetworkPolicy {
  const turn = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(turn);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, inner]) => [key, turn(inner)]),
    );
  };
  return turn(policy) as NetworkPolicy;
}

/** A new secret at the source, on a connection that has been used with the former one. */
export async function rotate(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const name = input.credential ?? '';
  const next = run.row.input.steps?.find(({ op }) => op === 'http');
  if (next !== undefined) await runHttp(run, next);
  stage.strings[`${name}_FORMER`] = stage.strings[`${name}_REAL`] ?? '';
  const fresh = secretFor(name);
  stage.hostEnv[name] = fresh;
  stage.strings[`${name}_REAL`] = fresh;
  await stage.broker.refresh(name);
  return done(run, input, 'allow');
}

export async function revoke(run: Run, input: Input): Promise<Step> {
  (await run.stage(input)).broker.revoke(input.credential ?? '');
  return done(run, input, 'allow');
}

/** The source gives nothing any more. */
export async function breakSource(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  delete stage.hostEnv[input.credential ?? ''];
  await stage.broker.refresh(input.credential ?? '').catch(() => undefined);
  return done(run, input, 'allow');
}

/** Another gateway for the same sandbox: its budgets begin anew, so it is a new sandbox. */
export async function restartGateway(run: Run, input: Input): Promise<Step> {
  await run.stage(input);
  await run.restart(input);
  return done(run, input, 'allow');
}

export async function killGateway(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  await stage.bench.gateway.close();
  return done(run, input, 'allow');
}

export async function openTunnel(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const authority = input.authority ?? '';
  stage.origin.opaque = true;
  const wire = await dial(stage.bench.proxy);
  run.tunnel = wire;
  const sent = clientHello({ sni: authority.replace(/:\d+$/, '') });
  if (await connectThrough(wire, authority)) {
    await wire.send([sent]);
    await wire.until(() => wire.bytes.length > 0, ANSWER_MS);
  }
  const seen = { reply: wire.bytes, closed: wire.closed };
  return { stage, input, before, sent, ...seen, outcome: await outcomeOf(stage, before, seen) };
}

export async function sendOnTunnel(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const wire = run.tunnel;
  if (wire === undefined) throw new Error('no tunnel was opened');
  const sent = Buffer.from('more on the tunnel');
  const arrived = (): boolean => stage.origin.arrivals.some(({ raw }) => raw.includes(sent));
  const since = Date.now();
  await wire.send([sent]);
  while (!arrived() && !wire.closed && Date.now() < since + 1_000)
    await new Promise((resolve) => setTimeout(resolve, 5));
  const seen = { reply: wire.bytes, closed: wire.closed };
  const facts = { closedWithinMs: wire.closed ? Date.now() - since : Number.POSITIVE_INFINITY };
  return {
    stage,
    input,
    before,
    sent,
    ...seen,
    outcome: arrived() ? 'allow' : refusalOf(stage, before, seen),
    facts,
  };
}

/** The sink refuses the record of a decision: the decision is not acted on, and the gateway is gone for good. */
export async function auditBreak(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const gateway = createGateway({
    policy: stage.network,
    onEvent: () => {
      throw new Error('the sink is full');
    },
    onConnection: () => undefined,
    resolver: { resolve: () => Promise.reject(new Error('not reached')) },
  });
  const port = await attachTcp(gateway, 'http-proxy');
  const { bytes } = await talk(port, ['CONNECT evil.test:443 HTTP/1.1\r\n\r\n'], 200);
  await gateway.close();
  const isGone = await talk(port, []).then(
    () => false,
    () => true,
  );
  const passed = bytes.toString().includes('HTTP/1.1 200') || !isGone;
  return done(run, input, passed ? 'allow' : 'deny');
}

/** A log with a line taken out. */
export async function auditTamper(run: Run, input: Input): Promise<Step> {
  const stateDir = mkdtempSync(path.join(tmpdir(), 'egress-audit-'));
  const audit = openAudit({ stateDir });
  for (let i = 0; i < 5; i++)
    await audit.write({
      kind: 'network.verdict',
      sandbox: 's1',
      data: { action: 'deny', host: `h${i}.test`, port: 443 },
    });
  await audit.close();
  const file = path.join(stateDir, 'audit/audit.jsonl');
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const whole = await verifyAudit({ stateDir });
  writeFileSync(
    file,
    lines
      .filter((_, i) => i !== 2)
      .map((line) => `${line}\n`)
      .join(''),
  );
  const cut = await verifyAudit({ stateDir });
  rmSync(stateDir, { recursive: true });
  return done(run, input, whole.ok && !cut.ok ? 'deny' : 'allow');
}

/** A program inside that relays for another: both are the sandbox. */
export async function relay(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const server = createServer((client) => {
    const up = connect(stage.bench.proxy, '127.0.0.1');
    for (const socket of [client, up]) socket.on('error', () => socket.destroy());
    client.pipe(up).pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const wire = await dial(portOf(server));
  const isOpen = await connectThrough(wire, textOf(stage, input.authority ?? ''));
  const seen = { reply: wire.bytes, closed: wire.closed };
  wire.destroy();
  server.close();
  const outcome = isOpen ? 'allow' : refusalOf(stage, before, seen);
  return { stage, input, before, sent: NOTHING, ...seen, outcome };
}

/** More tunnels at once than the bound: the first ones work on. */
export async function manyTunnels(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const authority = input.authority ?? 'api.allowed.test:443';
  stage.origin.opaque = true;
  const hello = clientHello({ sni: authority.replace(/:\d+$/, '') });
  const head = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
  const bound = Math.min(input.count ?? 300, 256);
  const held = Array.from({ length: bound }, () => {
    const socket = connect(stage.bench.proxy, '127.0.0.1');
    socket.on('error', () => socket.destroy());
    socket.write(Buffer.concat([Buffer.from(head), hello]));
    return socket;
  });
  await until(
    `${bound} tunnels`,
    () => stage.origin.arrivals.filter(({ raw }) => raw.length > 0).length === bound,
    15_000,
  );
  const wire = await dial(stage.bench.proxy);
  await connectThrough(wire, authority);
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(wire.bytes.toString('latin1', 0, 20))?.[1] ?? 0);
  held[0]?.write('more');
  const works = (): boolean => stage.origin.arrivals.some(({ raw }) => raw.includes('more'));
  await until('an earlier tunnel still works', works);
  for (const socket of held) socket.destroy();
  const seen = { reply: wire.bytes, closed: wire.closed, status };
  const outcome = status === 200 ? 'allow' : refusalOf(stage, before, seen);
  return {
    stage,
    input,
    before,
    sent: NOTHING,
    ...seen,
    outcome,
    facts: { rule: denialRule(stage, before) },
  };
}

/** The cap of the certificate cache has a test of its own; here some dozens of names must do. */
export function timesOf(run: Run, op: string, count: number): number {
  return op === 'tls' && run.row.expect === 'allow' ? Math.min(count, 60) : count;
}

/** Rows that repeat describe some requests in words. */
export function meantBy(input: Input): Input {
  const { raw } = input;
  if (raw === undefined || raw.includes('HTTP/1.')) return input;
  const host = (input.dst ?? '').replace(/:\d+$/, '');
  const size = /(\d+) *kB POST/i.exec(raw)?.[1];
  if (size !== undefined)
    return {
      ...input,
      raw: `POST /v1/messages HTTP/1.1\r\nHost: ${host}\r\nContent-Length: \${len}\r\n\r\n\${repeat:a:${Number(size) * 1_000}}`,
    };
  if (/denied/i.test(raw)) return { ...input, raw: `GET /v1/files HTTP/1.1\r\nHost: ${host}\r\n\r\n` };
  throw new Error(`no meaning for "${raw}"`);
}
