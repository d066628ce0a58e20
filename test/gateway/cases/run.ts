import { runConfig } from './run-config.ts';
import { runH2, runH2Cleartext } from './run-h2.ts';
import { runName, runNameOverDns, runNameOverSocks } from './run-name.ts';
import { runHttp, runProxy, runResponse, runSocks, runSocksTls, runTransparent } from './run-http.ts';
import { runDns, runResolve } from './run-dns.ts';
import { runTls } from './run-tls.ts';
import { runWs } from './run-ws.ts';
import * as special from './run-special.ts';
import type { Case, Input } from './load.ts';
import type { Step } from './outcome.ts';
import { Run } from './session.ts';
import type { RunOptions } from './session.ts';
import type { Suite } from './stage.ts';

/** All steps of a row, on one way through the gateway; it is judged by the last. */
export interface Result {
  readonly row: Case;
  /** `connect`, `socks`, `dns`, `origin:h1`… */
  readonly way: string;
  readonly run: Run;
  readonly steps: readonly Step[];
}

type Runner = (run: Run, input: Input) => Promise<Step>;

const RUNNERS: Readonly<Record<string, Runner>> = {
  name: runName,
  resolve: runResolve,
  dns: runDns,
  'dns-raw': runDns,
  packet: runTransparent,
  transparent: runTransparent,
  proxy: runProxy,
  socks5: (run, input) => (input.http === undefined ? runSocks(run, input) : runSocksTls(run, input)),
  'socks-raw': runSocks,
  tls: runTls,
  'tls-raw': runTls,
  http: runHttp,
  response: runResponse,
  h2: runH2,
  'http2-cleartext': runH2Cleartext,
  ws: runWs,
  config: runConfig,
  reload: special.reload,
  rotate: special.rotate,
  revoke: special.revoke,
  'break-source': special.breakSource,
  'restart-gateway': special.restartGateway,
  'kill-gateway': special.killGateway,
  'open-tunnel': special.openTunnel,
  'send-on-tunnel': special.sendOnTunnel,
  'audit-break': special.auditBreak,
  'audit-tamper': special.auditTamper,
  'in-sandbox-relay': special.relay,
};

/** Other ways into the gateway that the same row must not fare differently on. */
function waysOf(row: Case): readonly (readonly [string, RunOptions, Runner?])[] {
  const { op } = row.input;
  if (op === 'name')
    return [
      ['connect', {}],
      ['socks', {}, runNameOverSocks],
      ...(isAskable(row) ? ([['dns', {}, runNameOverDns]] as const) : []),
    ];
  if (op === 'h2' && row.input.flood === undefined)
    return row.policy === 'P-grpc'
      ? [['origin:h2', { http2: true }]]
      : [
          ['origin:h1', {}],
          ['origin:h2', { http2: true }],
        ];
  return [[op, {}]];
}

/** A name server knows neither addresses nor ports. */
function isAskable({ input, policy }: Case): boolean {
  const { host = '', port = 443 } = input;
  return policy !== 'P-open' && policy !== 'P-private' && port === 443 && !/^[\d.:[\]x]+$|%|:/i.test(host);
}

/** Runs a row on all its ways; `judge` looks at each result while its gateway is still there. */
export async function runCase(
  suite: Suite,
  row: Case,
  judge: (result: Result) => Promise<void>,
): Promise<void> {
  for (const [way, options, runner] of waysOf(row)) {
    const run = new Run(suite, row, options);
    try {
      await judge({ row, way, run, steps: await runSteps(run, row.input, runner) });
    } finally {
      await run.close();
    }
  }
}

async function runSteps(run: Run, input: Input, runner?: Runner): Promise<Step[]> {
  if (input.op === 'sequence') {
    const steps: Step[] = [];
    for (const step of input.steps ?? []) steps.push(...(await runSteps(run, step)));
    return steps;
  }
  if (input.op === 'repeat') return [await repeat(run, input)];
  const one = runner ?? RUNNERS[input.op];
  if (one === undefined) throw new Error(`no runner for ${input.op}`);
  return [await one(run, input)];
}

/** The same again and again; the last one counts. */
async function repeat(run: Run, input: Input): Promise<Step> {
  if (input.of === 'connect' && run.row.input.op === 'repeat') return special.manyTunnels(run, input);
  const { of: op = 'http', count = 1 } = input;
  const one = RUNNERS[op];
  if (one === undefined) throw new Error(`no runner for a repetition of ${op}`);
  let last: Step | undefined;
  for (let i = 0; i < special.timesOf(run, op, count); i++) {
    const text = JSON.stringify({ ...special.meantBy(input), op }).replaceAll('${i}', String(i));
    const step: Input = JSON.parse(text);
    last = await one(run, step);
  }
  if (last === undefined) throw new Error('repeated no times');
  return last;
}

/** Does an operation have a runner? */
export function isRunnable(input: Input): boolean {
  if (input.op === 'sequence') return (input.steps ?? []).every(isRunnable);
  if (input.op === 'repeat') return RUNNERS[input.of ?? 'http'] !== undefined || input.of === 'connect';
  return RUNNERS[input.op] !== undefined;
}
