import type { Readable } from 'node:stream';
import type { AgentProcess } from '../agent/contract.ts';
import type { CliIo } from './contract.ts';
import { rawTerminal } from './raw-terminal.ts';
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
  /** Stops what passes between the terminal and the command, both ways, until `release`. */
  hold(): void;
  release(): void;
  stop(): void;
}

/** Wires a foreground command up. */
export function startRelay(input: RelayInput): Relay {
  const undo: (() => void)[] = [];
  input.signals.forwardTo((signal, number) => {
    input.onSignal(signal);
    input.main.kill(number);
  });
  if (takesInput(input)) relayInput(input, undo);
  if (input.plan.terminal) followTerminal(input, undo);
  const count = outputCounter(input);
  const gate = new Gate();
  const drained = Promise.all([
    relayOutput(input, 'stdout', count, gate),
    relayOutput(input, 'stderr', count, gate),
  ]).then(() => undefined);
  return {
    drained,
    hold: () => {
      gate.close();
      if (takesInput(input)) input.io.stdin.unpipe(input.main.stdin).pause();
    },
    release: () => {
      if (input.plan.terminal) drawAnew(input.main);
      gate.open();
      // Not now: of two readers of one terminal libuv may already hold the event of the key that the other one took, and would block.
      if (takesInput(input)) setImmediate(() => resumeInput(input, gate));
    },
    stop: () => {
      for (const step of undo.splice(0)) step();
    },
  };
}

/** What passes waits here while a question stands on the terminal. */
class Gate {
  #opened: Promise<void> | undefined;
  open: () => void = () => undefined;

  close(): void {
    if (this.#opened !== undefined) return;
    this.#opened = new Promise((resolve) => {
      this.open = (): void => {
        this.#opened = undefined;
        resolve();
      };
    });
  }

  get isClosed(): boolean {
    return this.#opened !== undefined;
  }

  async passed(): Promise<void> {
    while (this.#opened !== undefined) await this.#opened;
  }
}

function resumeInput({ io, main }: RelayInput, gate: Gate): void {
  if (!gate.isClosed && !io.stdin.destroyed && main.stdin.writable) io.stdin.pipe(main.stdin);
}

function takesInput({ plan }: RelayInput): boolean {
  return plan.command[0] === 'pipe' || plan.command[0] === 'pty';
}

/** Programs that draw do it again when the size of their terminal changes. */
function drawAnew(main: AgentProcess): void {
  const { rows, columns } = process.stdout;
  main.resize(Math.max(1, rows - 1), columns);
  main.resize(rows, columns);
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

/** Raw mode: every key belongs to the command's own terminal. Restored whatever happens. */
function followTerminal(input: RelayInput, undo: (() => void)[]): void {
  const restore = rawTerminal('inherit');
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

async function relayOutput(
  input: RelayInput,
  to: 'stdout' | 'stderr',
  count: Counter,
  gate: Gate,
): Promise<void> {
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
    await gate.passed();
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
