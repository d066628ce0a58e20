import { writeSync } from 'node:fs';
import { Session, type Runtime } from 'node:inspector';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { transform } from 'sucrase';
import { faultOf, type Fault } from './fault.ts';
import type { ToMain } from './protocol.ts';
import { HELPER, rewriteModuleSyntax } from './rewrite.ts';
import { Sender } from './sender.ts';
import { bundleOf, fromMimes, type Bundle } from './show.ts';

type Cell = Extract<ToMain, { kind: 'run' }>;

interface Outcome {
  readonly executionCount: number;
  readonly error?: Fault;
}

/** What a cell ended with, kept as the value itself and not as the debugger describes it. */
interface Held {
  value: unknown;
}

/**
 * Runs cells one after another in the global scope of the main thread, through V8's debugger interface: its REPL mode allows
 * `await` at the top and declaring a name again, as a person at a prompt expects.
 */
export class Kernel {
  readonly #session = new Session();
  readonly #watcher: Worker;
  readonly #sender: Sender;
  readonly #held: Held = { value: undefined };
  /** What was displayed and still describes itself. */
  readonly #showing = new Set<Promise<void>>();
  #count = 0;
  #cell = '-';
  #interrupted: ((error: Error) => void) | undefined;

  constructor(source: string) {
    // One 32-bit number that both threads see: how many frames have been handed to the system.
    const written = new SharedArrayBuffer(4);
    this.#watcher = new Worker(source, { eval: true, stdin: false, workerData: written });
    this.#sender = new Sender(this.#watcher, written);
    this.#session.connect();
  }

  start(): void {
    this.#prepareGlobals();
    for (const stream of [process.stdout, process.stderr]) writeAtOnce(stream);
    // Whatever goes wrong outside of a cell is said and survived, as at a prompt.
    process.on('uncaughtException', (error) => console.error('Uncaught', error));
    process.on('unhandledRejection', (reason) => console.error('Unhandled rejection', reason));
    process.on('SIGINT', () => undefined);
    process.on('exit', () => {
      this.#sender.flush();
      // Node would wait, and say so, for a debugger that leaves with it.
      this.#session.disconnect();
    });
    // The host is gone.
    this.#watcher.on('exit', () => process.exit(0));
    this.#watcher.on('message', (message: ToMain) => {
      if (message.kind === 'run') void this.#take(message);
      else this.#interrupt();
    });
    this.#sender.send('ready', '-', { version: process.version });
    this.#mark();
  }

  async #take(cell: Cell): Promise<void> {
    this.#cell = cell.id;
    this.#count += 1;
    this.#sender.send('started', cell.id, {});
    const outcome = await this.#run(cell);
    this.#sender.send('done', cell.id, { ...outcome });
    this.#mark();
  }

  async #run(cell: Cell): Promise<Outcome> {
    const executionCount = this.#count;
    try {
      const code = rewriteModuleSyntax(cell.typescript ? withoutTypes(cell.code) : cell.code);
      const fault = await this.#evaluate(code, `cell-${executionCount}`);
      await this.#interruptible(Promise.all(this.#showing));
      return fault === undefined ? { executionCount } : { executionCount, error: fault };
    } catch (error) {
      return { executionCount, error: faultOf(error) };
    }
  }

  async #evaluate(code: string, name: string): Promise<Fault | undefined> {
    const expression = `${code}\n//# sourceURL=${name}`;
    const answer = await this.#interruptible(this.#ask(expression));
    const { exceptionDetails, result } = answer;
    if (exceptionDetails !== undefined)
      return faultOf(await this.#valueOf(exceptionDetails.exception ?? result));
    if (result.type === 'undefined') return undefined;
    const value = await this.#valueOf(result);
    const bundle = await this.#interruptible(Promise.resolve(bundleOf(value)));
    this.#sender.send('result', this.#cell, { ...bundle, isMainResult: true });
    return undefined;
  }

  #ask(expression: string): Promise<Runtime.EvaluateReturnType> {
    const parameters = { expression, replMode: true, awaitPromise: true, objectGroup: 'cell' };
    return new Promise((resolve, reject) => {
      const answered = (error: Error | null, answer: Runtime.EvaluateReturnType): void => {
        // The only way that an evaluation itself fails is that it was ended from the other thread.
        if (error === null) resolve(answer);
        else reject(interruption());
      };
      this.#session.post('Runtime.evaluate', parameters, answered);
    });
  }

  /** The debugger knows the value by number; a function called on it puts it where we can take it. */
  #valueOf(remote: Runtime.RemoteObject): Promise<unknown> {
    const { objectId } = remote;
    if (objectId === undefined) return Promise.resolve(primitiveOf(remote));
    const functionDeclaration = `function () { 'use strict'; ${HELPER}.hold(this); }`;
    return new Promise((resolve) => {
      this.#session.post('Runtime.callFunctionOn', { functionDeclaration, objectId }, () => {
        const { value } = this.#held;
        this.#held.value = undefined;
        this.#session.post('Runtime.releaseObjectGroup', { objectGroup: 'cell' });
        resolve(value);
      });
    });
  }

  #interruptible<T>(work: Promise<T>): Promise<T> {
    const interrupted = new Promise<never>((_, reject) => {
      this.#interrupted = reject;
    });
    return Promise.race([work, interrupted]).finally(() => {
      this.#interrupted = undefined;
    });
  }

  #interrupt(): void {
    this.#sender.noticed();
    this.#interrupted?.(interruption());
  }

  #mark(): void {
    for (const descriptor of [1, 2]) writeAll(descriptor, Buffer.from(`\0${this.#cell}\0`));
  }

  #prepareGlobals(): void {
    const require = createRequire(path.join(process.cwd(), 'cell.js'));
    const hold = (value: unknown): void => {
      this.#held.value = value;
    };
    const load = (specifier: unknown): Promise<unknown> => import(locate(String(specifier), require));
    Object.defineProperty(globalThis, HELPER, { value: Object.freeze({ hold, import: load }) });
    const display = (value: unknown, options?: { readonly raw?: boolean }): Promise<void> =>
      this.#display(shown(value, options?.raw === true));
    Object.assign(globalThis, { require, display });
  }

  /** At once where that is possible: the cell may never give way. */
  #display(bundle: Bundle | Promise<Bundle>): Promise<void> {
    const send = (forms: Bundle): void =>
      this.#sender.send('result', this.#cell, { ...forms, isMainResult: false });
    if (!(bundle instanceof Promise)) {
      send(bundle);
      return Promise.resolve();
    }
    const showing = bundle.then(send).finally(() => this.#showing.delete(showing));
    this.#showing.add(showing);
    return showing;
  }
}

function shown(value: unknown, raw: boolean): Bundle | Promise<Bundle> {
  const isBundle = raw && typeof value === 'object' && value !== null;
  return isBundle ? fromMimes({ ...value }) : bundleOf(value);
}

/** A bare or relative name means what it would in a file of the working directory. */
function locate(specifier: string, require: NodeJS.Require): string {
  if (/^(?:node|file|data):/.test(specifier)) return specifier;
  const found = require.resolve(specifier);
  return path.isAbsolute(found) ? pathToFileURL(found).href : found;
}

/** An import that this cell does not use may be used by the next one. */
function withoutTypes(code: string): string {
  return transform(code, { transforms: ['typescript'], keepUnusedImports: true, disableESTransforms: true })
    .code;
}

function primitiveOf(remote: Runtime.RemoteObject): unknown {
  const { unserializableValue } = remote;
  if (unserializableValue === undefined) return remote.value;
  return unserializableValue.endsWith('n')
    ? BigInt(unserializableValue.slice(0, -1))
    : Number(unserializableValue);
}

function interruption(): Error {
  const error = new Error('the cell was interrupted');
  error.name = 'Interrupted';
  delete error.stack;
  return error;
}

/** Else a cell that never gives way would keep its output, and the mark behind it would overtake it. */
function writeAtOnce(stream: NodeJS.WriteStream): void {
  const handle: unknown = Reflect.get(stream, '_handle');
  if (typeof handle !== 'object' || handle === null) return;
  const setBlocking: unknown = Reflect.get(handle, 'setBlocking');
  if (typeof setBlocking === 'function') Reflect.apply(setBlocking, handle, [true]);
}

function writeAll(descriptor: number, data: Buffer): void {
  let written = 0;
  while (written < data.length) {
    try {
      written += writeSync(descriptor, data, written);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) return;
    }
  }
}
