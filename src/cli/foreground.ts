import { readFileSync } from 'node:fs';
import type { AgentExit, ExecSpec } from '../agent/contract.ts';
import { commandError } from '../agent/start-error.ts';
import { openAudit, type AuditWriter } from '../audit/writer.ts';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, isGloveboxError } from '../base/errors.ts';
import { EXIT, SIGNAL_NUMBERS } from '../base/exit-codes.ts';
import { printablePath } from '../base/path-bytes.ts';
import { gloveboxDirs, homeDirectory } from '../base/paths.ts';
import type { LimitName, ResolvedPolicy } from '../policy/contract.ts';
import { endSandbox, type EndCause, type EndReport } from '../sandbox/end.ts';
import { preparePlan, type PreparedPlan } from '../sandbox/prepare.ts';
import type { ReviewOutcome } from '../sandbox/review-copy.ts';
import { startSandbox, type StartedSandbox } from '../sandbox/start.ts';
import type { CliIo } from './contract.ts';
import { hiddenProgramHint } from './hints.ts';
import { Notes, RefusalNotes } from './notes.ts';
import type { ParsedRun } from './options.ts';
import type { Stage, TerminalDesk } from './ask/desk.ts';
import { startRelay, type Relay } from './relay.ts';
import { loadRunPolicy } from './run-policy.ts';
import { SignalCatcher } from './signals.ts';
import {
  chooseStdio,
  descriptorKind,
  hasLandlock,
  inBackground,
  rememberLandlock,
  whyNotAsked,
  type DescriptorKind,
  type StdioPlan,
} from './stdio.ts';

/** What happened to a run besides the command's own end. */
interface RunState {
  cause: EndCause | undefined;
  readonly hit: Set<LimitName>;
  /** The last of TERM and HUP that Glovebox itself was sent. */
  ended: NodeJS.Signals | undefined;
  /** Everything inside stands still until a signal comes. */
  paused: boolean;
}

interface Request {
  readonly parsed: ParsedRun;
  readonly command: readonly string[];
  readonly io: CliIo;
  readonly notes: Notes;
  readonly audit: AuditWriter;
  readonly signals: SignalCatcher;
}

/** Both absent: the policy does not say `ask`. */
interface Asking {
  /** Where unknown hosts are asked about. */
  readonly desk?: TerminalDesk;
  /** Why nobody can be asked. */
  readonly unasked?: string;
}

interface Foreground extends Request {
  readonly stdio: StdioPlan;
  readonly asking: Asking;
  readonly state: RunState;
}

/** Runs one command in the foreground, from policy to exit code. A refusal at any step leaves a record. */
export async function runForeground(
  parsed: ParsedRun,
  command: readonly string[],
  io: CliIo,
): Promise<number> {
  const notes = new Notes({ quiet: parsed.quiet, verbose: parsed.verbose, json: io.json });
  const audit = openAudit({ stateDir: gloveboxDirs(io.env).state });
  const signals = new SignalCatcher();
  try {
    return await planAndRun({ parsed, command, io, notes, audit, signals });
  } catch (error) {
    notes.release();
    await recordRefusal(audit, error);
    throw error;
  } finally {
    signals[Symbol.dispose]();
    await audit.close();
  }
}

async function planAndRun(request: Request): Promise<number> {
  const { parsed, io, notes } = request;
  const resolved = await loadRunPolicy(parsed, io);
  const prepared = await prepare(parsed, resolved, io);
  for (const notice of resolved.notices) notes.say(notice);
  for (const notice of prepared.notices) notes.detail(notice);
  const kinds = [descriptorKind(0), descriptorKind(1), descriptorKind(2)] as const;
  const stdio = chooseStdio({
    kinds,
    countOutput: prepared.plan.limits.outputBytes !== undefined,
    landlock: hasLandlock(gloveboxDirs(io.env).cache),
    guestKernel: prepared.plan.tier !== 'process',
  });
  const state: RunState = { cause: undefined, hit: new Set(), ended: undefined, paused: false };
  const asking = await openDesk(resolved, kinds);
  return runPrepared({ ...request, stdio, asking, state }, prepared, resolved);
}

/** Loaded only where a policy says `ask`. */
async function openDesk({ policy }: ResolvedPolicy, kinds: readonly DescriptorKind[]): Promise<Asking> {
  const { ask } = policy.network;
  if (ask === undefined) return {};
  const unasked = whyNotAsked(kinds);
  if (unasked !== undefined) return { unasked };
  return { desk: (await import('./ask/desk.ts')).deskAtTerminal(ask.timeoutMs) };
}

async function prepare(parsed: ParsedRun, resolved: ResolvedPolicy, io: CliIo): Promise<PreparedPlan> {
  return preparePlan({
    policy: resolved.policy,
    env: io.env,
    home: homeDirectory(io.env),
    ...(parsed.cwd === undefined ? {} : { cwd: parsed.cwd }),
  });
}

async function runPrepared(
  run: Foreground,
  prepared: PreparedPlan,
  resolved: ResolvedPolicy,
): Promise<number> {
  const { audit, io } = run;
  const { desk, unasked } = run.asking;
  const refusals = new RefusalNotes(run.notes, unasked);
  const dirs = gloveboxDirs(io.env);
  const sandbox = await startSandbox({
    prepared,
    policyHash: resolved.hash,
    dirs,
    env: io.env,
    audit,
    exec: execSpec(run, prepared),
    stdio: run.stdio.jail,
    publish: run.parsed.publish,
    onNetwork: (event) => refusals.event(event),
    onPause: (reason) => paused(run, reason),
    ...(desk === undefined ? {} : { onAsk: (question, signal) => desk.ask(question, signal) }),
  });
  sandbox.session.hello.then(
    (hello) => rememberLandlock(dirs.cache, hello.landlockAbi),
    () => undefined,
  );
  for (const notice of sandbox.limits.notices) run.notes.detail(notice);
  for (const notice of sandbox.egress.notices) run.notes.say(notice);
  const exit = await superviseOrEnd(run, sandbox, audit);
  const cause = endCause(run, sandbox, exit);
  const status = exitStatus(run, exit, cause);
  const report = await endSandbox({ sandbox, audit, cause, status, hit: [...run.state.hit], env: io.env });
  run.notes.release();
  if (report.review !== undefined) await tellReview(run, report.review);
  if (cause === 'guard-lost') run.notes.important(guardLostText(sandbox.guard.lost ?? ''));
  return conclude(run, exit, { ...report, cwd: prepared.plan.cwd });
}

async function tellReview({ notes }: Foreground, review: ReviewOutcome): Promise<void> {
  const { reviewText } = await import('./review/text.ts');
  notes.say(reviewText(review), { review });
}

async function recordRefusal(audit: AuditWriter, error: unknown): Promise<void> {
  if (!isGloveboxError(error) || error.code === 'E_AUDIT_UNWRITABLE') return;
  await audit.write({ kind: 'run.refused', data: { code: error.code, what: error.what, why: error.why } });
}

/** Node decodes its arguments as UTF-8; the kernel still has the bytes of those that are not (proc_pid_cmdline(5)). */
function commandWords(command: readonly string[]): readonly (string | Uint8Array)[] {
  if (!command.some((word) => word.includes('\uFFFD'))) return command;
  const raw = readFileSync('/proc/self/cmdline', 'latin1').split('\0').slice(0, -1);
  return raw.slice(-command.length).map((word) => Buffer.from(word, 'latin1'));
}

function execSpec(run: Foreground, prepared: PreparedPlan): ExecSpec {
  const size = run.stdio.terminal ? terminalSize(run.io) : undefined;
  return {
    argv: commandWords(run.command),
    env: prepared.plan.env,
    cwd: prepared.plan.cwd,
    stdio: run.stdio.command,
    ...(size === undefined ? {} : { terminal: size }),
  };
}

function terminalSize({ stdout }: CliIo): ExecSpec['terminal'] {
  if (!('rows' in stdout && 'columns' in stdout)) return undefined;
  return { rows: Number(stdout.rows), cols: Number(stdout.columns) };
}

/** A sandbox that was lost is taken down like any other before the reason is told. */
async function superviseOrEnd(
  run: Foreground,
  sandbox: StartedSandbox,
  audit: AuditWriter,
): Promise<AgentExit | undefined> {
  try {
    return await supervise(run, sandbox);
  } catch (error) {
    await endSandbox({ sandbox, audit, cause: 'lost', hit: [...run.state.hit], env: run.io.env });
    throw error;
  }
}

/** Waits for the command, its limits and our own signals; undefined when the sandbox was lost. */
async function supervise(run: Foreground, sandbox: StartedSandbox): Promise<AgentExit | undefined> {
  const { main } = sandbox.session;
  const { limits } = sandbox.prepared.plan;
  const end = (cause: EndCause, limit: LimitName): void => {
    run.state.cause ??= cause;
    run.state.hit.add(limit);
    terminate(sandbox);
  };
  const relay = startRelay({
    main,
    signals: run.signals,
    plan: run.stdio,
    io: run.io,
    ...(limits.outputBytes === undefined ? {} : { outputBytes: limits.outputBytes }),
    onOutputLimit: () => end('limit', 'output'),
    onSignal: (signal) => onOwnSignal(run, sandbox, signal),
  });
  if (run.stdio.terminal) run.notes.hold();
  run.asking.desk?.open(stageOf(run, relay));
  const timer =
    limits.timeoutMs === undefined
      ? undefined
      : setTimeout(() => end('timeout', 'timeout'), limits.timeoutMs);
  for (const port of sandbox.ports)
    run.notes.say(`127.0.0.1:${port.hostPort} reaches port ${port.sandboxPort} of the sandbox`);
  try {
    return await commandEnd(run, sandbox, relay);
  } finally {
    clearTimeout(timer);
    run.asking.desk?.close();
    relay.stop();
  }
}

/** While a question stands on the terminal, nothing of the command's and no notice of ours gets there. */
function stageOf(run: Foreground, relay: Relay): Stage {
  // With a terminal of its own the command has the screen, and notices are kept back until the end anyway.
  const notes = run.stdio.terminal ? undefined : run.notes;
  return {
    inBackground,
    hold: () => {
      relay.hold();
      notes?.hold();
    },
    release: () => {
      relay.release();
      notes?.release();
    },
  };
}

async function commandEnd(
  run: Foreground,
  sandbox: StartedSandbox,
  relay: Relay,
): Promise<AgentExit | undefined> {
  const { session } = sandbox;
  const lost = session.closed.then(async (reason) => {
    // What we ended ourselves was not lost, however abruptly it went.
    if (reason === undefined || run.state.cause !== undefined || sandbox.guard.lost !== undefined) {
      return undefined;
    }
    // The kernel's count of it is told at the end.
    if (isGloveboxError(reason) && reason.code === 'E_LIMIT_EXCEEDED') return undefined;
    await sandbox.jail.exited;
    throw withComplaint(reason, sandbox.jail.complaint());
  });
  const exit = await Promise.race([session.main.exit.catch(() => lost), lost]);
  // What it wrote last is passed on once no question keeps it back.
  run.asking.desk?.close();
  await Promise.race([relay.drained, session.closed]);
  return exit;
}

/** What bubblewrap said before it ended is the better reason. */
function withComplaint(reason: Error, complaint: string): Error {
  if (complaint === '' || !isGloveboxError(reason)) return reason;
  return new GloveboxError(reason.code, { what: reason.what, why: complaint, cause: reason });
}

/** TERM, and KILL for whoever ignores it. */
function terminate(sandbox: StartedSandbox): void {
  sandbox.session.signalAll(SIGNAL_NUMBERS['SIGTERM'] ?? 15);
  const timer = setTimeout(() => sandbox.jail.kill(), CAPS.graceMs);
  timer.unref();
  sandbox.teardown.add('grace timer', () => clearTimeout(timer));
}

function paused(run: Foreground, reason: string): void {
  run.state.paused = true;
  run.notes.important(
    `paused: ${reason}. \`kill -CONT ${process.pid}\` lets it go on, every other signal ends it as usual`,
  );
}

function onOwnSignal(run: Foreground, sandbox: StartedSandbox, signal: NodeJS.Signals): void {
  // What stands still takes no signal.
  if (run.state.paused) sandbox.session.signalAll(SIGNAL_NUMBERS['SIGCONT'] ?? 18);
  run.state.paused = false;
  if (signal !== 'SIGTERM' && signal !== 'SIGHUP') return;
  run.state.ended = signal;
  run.state.cause ??= 'killed';
  terminate(sandbox);
}

/** A guard that goes when the command has ended already is another run tidying up. */
function endCause(run: Foreground, sandbox: StartedSandbox, exit: AgentExit | undefined): EndCause {
  if (exit === undefined && sandbox.guard.lost !== undefined) return 'guard-lost';
  return run.state.cause ?? causeOf(exit);
}

function causeOf(exit: AgentExit | undefined): EndCause {
  if (exit === undefined) return 'lost';
  if (exit.refused !== undefined) return 'refused';
  return exit.signal === undefined ? 'exit' : 'signal';
}

function exitStatus(run: Foreground, exit: AgentExit | undefined, cause: EndCause): number {
  if (cause === 'timeout') return EXIT.timedOut;
  if (cause === 'limit') return EXIT.limit;
  if (cause === 'guard-lost') return EXIT.refused;
  if (run.state.ended !== undefined) return EXIT.signalBase + (SIGNAL_NUMBERS[run.state.ended] ?? 0);
  return exit?.status ?? EXIT.limit;
}

/** Says what a person has to know about the end, and answers the exit code. */
function conclude(
  run: Foreground,
  exit: AgentExit | undefined,
  report: EndReport & { readonly cwd: string },
): number {
  const { notes } = run;
  const failed = exit === undefined ? undefined : commandError(exit, run.command[0] ?? '', report.cwd);
  if (failed !== undefined) {
    const hidden = failed.code === 'E_COMMAND_NOT_FOUND';
    const hint = hidden ? hiddenProgramHint(run.command[0] ?? '', run.io.env) : undefined;
    notes.important(`${failed.message}\n  ${hint ?? failed.next} [${failed.code}]`, { error: failed });
    return exit?.status ?? EXIT.refused;
  }
  for (const limit of report.usage.hit) notes.important(limitText(limit), { limit });
  if (report.appeared.length > 0 || report.appearedTruncated)
    notes.say(appearedText(report), { appeared: report.appeared });
  if (report.cause === 'lost' && report.usage.hit.length === 0)
    notes.important('the sandbox ended without an answer from inside');
  return exitStatus(run, exit, report.cause);
}

function guardLostText(path: string): string {
  return `${printablePath(path)} was replaced while the command ran: its guard went with it, so the run was ended [E_MASK_LOST]\n  Save guarded files when no sandbox runs in this directory, or lift the guard in the policy.`;
}

function limitText(limit: LimitName): string {
  const verb = limit === 'pids' ? 'reached' : 'passed';
  return `the command ${verb} its limit: ${limit} (see limits.${limit} in the policy)`;
}

function appearedText(report: EndReport): string {
  const shown = report.appeared.slice(0, CAPS.appearedShown).map((name) => `\n  ${printablePath(name)}`);
  const more = report.appeared.length - shown.length;
  if (shown.length === 0)
    return 'part of the workspace could not be searched for files your machine may execute';
  const rest =
    more > 0 || report.appearedTruncated ? `\n  and ${Math.max(more, 1)} more: glovebox audit show` : '';
  return `files your machine may execute appeared or changed:${shown.join('')}${rest}`;
}
