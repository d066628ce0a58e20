import type { Duplex } from 'node:stream';
import { GloveboxError } from '../../base/errors.ts';
import { inTime } from '../../base/within.ts';

/** QEMU answers with lines of some hundred bytes; one that says more is not ours any more. */
const LINE_BYTES = 256 * 1024;

/** How long one order may take, in ms: a snapshot of a few hundred megabytes is written in a second. */
const ANSWER_MS = 30_000;

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The client's end of one QEMU Machine Protocol connection (QEMU, docs/interop/qmp-spec). Orders are answered in turn. QEMU works on what a guest does, so its
 * words are not trusted: they are bounded, and what is no answer ends the connection.
 */
export class QmpClient {
  readonly #channel: Duplex;
  readonly #pending: Pending[] = [];
  readonly #waiting = new Map<string, Pending>();
  readonly #greeted: Promise<void>;
  #rest = '';
  #greet: (() => void) | undefined;
  #failure: Error | undefined;

  constructor(channel: Duplex) {
    this.#channel = channel;
    this.#greeted = new Promise((resolve) => {
      this.#greet = resolve;
    });
    channel.setEncoding('utf8');
    channel.on('data', (text: string) => this.#onText(text));
    const ended = (): void => this.#fail(failed('the connection ended'));
    channel.on('error', ended).once('end', ended).once('close', ended);
  }

  /** Waits for the greeting and begins. @throws E_SANDBOX_START */
  async open(): Promise<void> {
    await answered(this.#greeted, 'its greeting');
    await this.execute('qmp_capabilities');
  }

  /** One order; what it returns. @throws E_SANDBOX_START with QEMU's reason */
  async execute(command: string, parameters?: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.#failure !== undefined) throw this.#failure;
    const answer = new Promise<unknown>((resolve, reject) => this.#pending.push({ resolve, reject }));
    const order = { execute: command, ...(parameters === undefined ? {} : { arguments: parameters }) };
    this.#channel.write(`${JSON.stringify(order)}\n`);
    return answered(answer, command);
  }

  /** Resolves at the next event of this name. Ask before the order that brings it about. */
  event(name: string): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const seen = new Promise<void>((resolve, reject) =>
      this.#waiting.set(name, { resolve: () => resolve(), reject }),
    );
    return answered(seen, name);
  }

  close(): void {
    this.#channel.destroy();
  }

  #onText(text: string): void {
    this.#rest += text;
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > LINE_BYTES) return this.#fail(failed('a line without end'));
    for (const line of lines) if (line.trim() !== '') this.#onLine(line);
  }

  #onLine(line: string): void {
    const message = parse(line);
    if (message === undefined) return this.#fail(failed('a line that is no message'));
    if ('QMP' in message) return this.#greet?.();
    if (typeof message['event'] === 'string') return this.#onEvent(message['event']);
    const pending = this.#pending.shift();
    if (pending === undefined) return this.#fail(failed('an answer that nobody asked for'));
    if ('return' in message) pending.resolve(message['return']);
    else pending.reject(failed(descriptionOf(message['error'])));
  }

  #onEvent(name: string): void {
    this.#waiting.get(name)?.resolve(undefined);
    this.#waiting.delete(name);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of [...this.#pending.splice(0), ...this.#waiting.values()]) reject(error);
    this.#waiting.clear();
    this.#channel.destroy();
  }
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function descriptionOf(error: unknown): string {
  const described = typeof error === 'object' && error !== null && 'desc' in error ? error.desc : undefined;
  return typeof described === 'string' ? described.slice(0, 500) : 'an error without a reason';
}

function failed(why: string): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', { what: 'QEMU did not do as it was told', why });
}

async function answered<T>(work: Promise<T>, what: string): Promise<T> {
  return inTime(ANSWER_MS, work, () => failed(`no answer to ${what} within ${ANSWER_MS} ms`));
}
