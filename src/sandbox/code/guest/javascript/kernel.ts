import { writeSync } from 'node:fs';
import { Session, type Runtime } from 'node:inspector';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { transform } from 'sucrase';
import { faultOf, type Fault } from './fault.ts';
import type { ToMain, ToWatcher } from './protocol.ts';
import { HELPER, rewriteModuleSyntax } from './rewrite.ts';
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
  readonly #held: Held = { value: undefined };
  #count = 0;
  #cell = '-';
  #interrupted: ((error: Error) => void) | undefined;

  constructor(source: string) {
    this.#watcher = new Worker(source, { eval: true, stdin: false });
    this.#session.connect();
  }

  start(): void {
    this.#prepareGlobals();
    // Whatever goes wrong outside of a cell is said and survived, as at a prompt.
    process.on('uncaughtException', (error) => console.error('Uncaught', error));
    process.on('unhandledRejection', (reason) => console.error('Unhandled rejection', reason));
    process.on('SIGINT', () => undefined);
    // Node would wait, and say so, for a debugger that leaves with it.
    process.on('exit', () => this.#session.disconnect());
    this.#watcher.on('message', (message: ToMain) => {
      if (message.kind === 'run') void this.#take(message);
      else this.#interrupt();
    });
    this.#send('ready', { version: process.version });
    this.#mark();
  }

  async #take(cell: Cell): Promise<void> {
    this.#cell = cell.id;
    this.#count += 1;
    this.#send('started', {});
    this.#send('done', await this.#run(cell));
    this.#mark();
  }

  async #run(cell: Cell): Promise<Outcome> {
    const executionCount = this.#count;
    try {
      const code = rewriteModuleSyntax(cell.typescript ? withoutTypes(cell.code) : cell.code);
      const fault = await this.#evaluate(code, `cell-${executionCount}`);
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
    this.#send('result', { ...(await bundleOf(await this.#valueOf(result))), isMainResult: true });
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
    const functionDeclaration = `function () { ${HELPER}.hold(this); }`;
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
    const noticed: ToWatcher = { kind: 'noticed' };
    this.#watcher.postMessage(noticed);
    this.#interrupted?.(interruption());
  }

  #mark(): void {
    for (const descriptor of [1, 2]) writeAll(descriptor, Buffer.from(`\0${this.#cell}\0`));
  }

  #send(type: Extract<ToWatcher, { kind: 'frame' }>['type'], value: unknown): void {
    const frame: ToWatcher = { kind: 'frame', type, id: this.#cell, value };
    this.#watcher.postMessage(frame);
  }

  #prepareGlobals(): void {
    const require = createRequire(path.join(process.cwd(), 'cell.js'));
    const hold = (value: unknown): void => {
      this.#held.value = value;
    };
    const load = (specifier: unknown): Promise<unknown> => import(locate(String(specifier), require));
    Object.defineProperty(globalThis, HELPER, { value: Object.freeze({ hold, import: load }) });
    const display = async (value: unknown, options?: { readonly raw?: boolean }): Promise<void> => {
      this.#send('result', { ...(await shown(value, options?.raw === true)), isMainResult: false });
    };
    Object.assign(globalThis, { require, display });
  }
}

function shown(value: unknown, raw: boolean): Promise<Bundle> {
  const isBundle = raw && typeof value === 'object' && value !== null;
  return isBundle ? Promise.resolve(fromMimes({ ...value })) : bundleOf(value);
}

/** A bare or relative name means what it would in a file of the working directory. */
function locate(specifier: string, require: NodeJS.Require): string {
  if (/^(?:node|file|data):/.test(specifier)) return specifier;
  const found = require.resolve(specifier);
  return path.isAbsolute(found) ? pathToFileURL(found).href : found;
}

function withoutTypes(code: string): string {
  return transform(code, { transforms: ['typescript'], keepUnusedImports: false, disableESTransforms: true })
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
