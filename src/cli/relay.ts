import { execFileSync } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { AgentProcess } from '../agent/contract.ts';
import type { CliIo } from './contract.ts';
import type { SignalCatcher } from './signals.ts';
import type { StdioPlan } from './stdio.ts';

export interface RelayInput {
  readonly main: AgentProcess;
  readonly plan: StdioPlan;
  readonly io: CliIo;
  /** Bytes of output before the command is ended. */
  readonly outputBytes?: number;
  readonly onOutputLimit: () => void;
  /** Our own signals, caught since before the start. */
  readonly signals: SignalCatcher;
  /** A signal that was sent to Glovebox itself. */
  readonly onSignal: (signal: NodeJS.Signals) => void;
}

/** Connections between our descriptors, our signals and the command, until `stop`. */
export interface Relay {
  /** Resolves when everything the command wrote has been passed on. */
  readonly drained: Promise<void>;
  stop(): void;
}

/** Wires a foreground command up. */
export function startRelay(input: RelayInput): Relay {
  const undo: (() => void)[] = [];
  input.signals.forwardTo((signal, number) => {
    input.onSignal(signal);
    input.main.kill(number);
  });
  if (input.plan.command[0] === 'pipe' || input.plan.command[0] === 'pty') relayInput(input, undo);
  if (input.plan.terminal) followTerminal(input, undo);
  const count = outputCounter(input);
  const drained = Promise.all([
    relayOutput(input, 'stdout', count),
    relayOutput(input, 'stderr', count),
  ]).then(() => undefined);
  return {
    drained,
    stop: () => {
      for (const step of undo.splice(0)) step();
    },
  };
}

function relayInput(input: RelayInput, undo: (() => void)[]): void {
  const { stdin } = input.io;
  stdin.on('error', () => input.main.stdin.end());
  stdin.pipe(input.main.stdin);
  input.main.stdin.on('error', () => stdin.unpipe());
  undo.push(() => {
    stdin.unpipe();
    stdin.pause();
    stdin.destroy();
  });
}

/**
 * Node's own raw mode leaves output processing on, which would add a carriage return to each that the inner terminal has
 * added. stty(1) is part of every base system.
 */
function rawTerminal(): () => void {
  const stty = (...args: string[]): string =>
    execFileSync('stty', args, { stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8' }).trim();
  const before = stty('-g');
  stty('raw', '-echo');
  return () => {
    stty(before);
  };
}

/** Raw mode: every key belongs to the command's own terminal. Restored whatever happens. */
function followTerminal(input: RelayInput, undo: (() => void)[]): void {
  const restore = rawTerminal();
  process.once('exit', restore);
  const resize = (): void => input.main.resize(process.stdout.rows, process.stdout.columns);
  process.on('SIGWINCH', resize);
  undo.unshift(() => {
    process.off('SIGWINCH', resize);
    process.off('exit', restore);
    restore();
  });
}

type Counter = (bytes: number) => boolean;

/** Answers whether the output limit still allows this many bytes more. */
function outputCounter(input: RelayInput): Counter {
  let left = input.outputBytes ?? Number.POSITIVE_INFINITY;
  return (bytes) => {
    const had = left;
    left -= bytes;
    if (had >= 0 && left < 0) input.onOutputLimit();
    return left >= 0;
  };
}

async function relayOutput(input: RelayInput, to: 'stdout' | 'stderr', count: Counter): Promise<void> {
  const from: Readable = input.main[to];
  const mode = input.plan.command[to === 'stdout' ? 1 : 2];
  if (mode !== 'pipe' && mode !== 'pty') {
    from.resume();
    return;
  }
  const target = input.io[to];
  target.on('error', () => from.destroy());
  for await (const chunk of from as AsyncIterable<Buffer>) {
    if (!count(chunk.length)) break;
    if (!target.write(chunk)) await drain(target);
  }
}

/** Resolves when the stream takes more, or will never. */
function drain(target: NodeJS.WritableStream): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      target.off('drain', done);
      target.off('close', done);
      target.off('error', done);
      resolve();
    };
    target.on('drain', done);
    target.on('close', done);
    target.on('error', done);
  });
}
