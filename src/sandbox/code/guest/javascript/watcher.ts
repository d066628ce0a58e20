import { Session } from 'node:inspector';
import { Socket } from 'node:net';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import type { ToMain, ToWatcher } from './protocol.ts';

/** A main thread that answers within this time is not inside a loop of its own. */
const NOTICE_MS = 50;

/**
 * The second thread: it owns the control channel, so that an interrupt arrives while a cell keeps the main thread busy.
 * Frames in are `kind id length` on a line and then as many bytes.
 */
export function watch(): void {
  const main = parentPort;
  if (main === null) throw new Error('the watcher is a worker');
  if (!(workerData instanceof SharedArrayBuffer)) throw new Error('the watcher counts its frames');
  const count = new Int32Array(workerData);
  const channel = new Socket({ fd: 3, readable: true, writable: true });
  const interrupter = new Interrupter(main);
  const frames = new FrameReader((type, id, body) => {
    if (type === 'interrupt') interrupter.interrupt();
    else main.postMessage(cellOf(type, id, body));
  });
  channel.on('data', (data: Buffer) => frames.push(data));
  channel.on('close', () => process.exit(0));
  main.on('message', (message: ToWatcher) => {
    if (message.kind === 'noticed') return interrupter.noticed();
    const body = Buffer.from(message.body);
    const head = Buffer.from(`${message.type} ${message.id} ${body.length}\n`);
    channel.write(Buffer.concat([head, body]), () => {
      Atomics.add(count, 0, 1);
      Atomics.notify(count, 0);
    });
  });
}

function cellOf(type: string, id: string, body: Buffer): ToMain {
  return { kind: 'run', id, code: body.toString(), typescript: type === 'typescript' };
}

/** Ends what the main thread does: politely when it listens, through V8's debugger when it is inside a loop. */
class Interrupter {
  readonly #main: MessagePort;
  #session: Session | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(main: MessagePort) {
    this.#main = main;
  }

  interrupt(): void {
    const message: ToMain = { kind: 'interrupt' };
    this.#main.postMessage(message);
    this.#timer ??= setTimeout(() => this.#terminate(), NOTICE_MS);
  }

  noticed(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #terminate(): void {
    this.#timer = undefined;
    if (this.#session === undefined) {
      this.#session = new Session();
      this.#session.connectToMainThread();
    }
    this.#session.post('Runtime.terminateExecution');
  }
}

class FrameReader {
  readonly #take: (type: string, id: string, body: Buffer) => void;
  #kept: Buffer = Buffer.alloc(0);

  constructor(take: (type: string, id: string, body: Buffer) => void) {
    this.#take = take;
  }

  push(data: Buffer): void {
    this.#kept = this.#kept.length === 0 ? data : Buffer.concat([this.#kept, data]);
    for (;;) {
      const line = this.#kept.indexOf(10);
      if (line < 0) return;
      const [type = '', id = '', length = '0'] = this.#kept.toString('latin1', 0, line).split(' ');
      const end = line + 1 + Number(length);
      if (this.#kept.length < end) return;
      const body = this.#kept.subarray(line + 1, end);
      this.#kept = this.#kept.subarray(end);
      this.#take(type, id, body);
    }
  }
}
