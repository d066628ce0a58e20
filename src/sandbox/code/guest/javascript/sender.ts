import type { Worker } from 'node:worker_threads';
import type { FrameType, ToWatcher } from './protocol.ts';

/** The host takes frames of 16 MiB. */
const BODY_BYTES = 15 * 1024 * 1024;

/** A program that exits waits this long for what it showed before. */
const FLUSH_MS = 1000;

/** The main thread's way to the host, through the thread that owns the channel. */
export class Sender {
  readonly #watcher: Worker;
  readonly #written: Int32Array;
  #sent = 0;

  constructor(watcher: Worker, written: SharedArrayBuffer) {
    this.#watcher = watcher;
    this.#written = new Int32Array(written);
  }

  send(type: FrameType, id: string, value: Readonly<Record<string, unknown>>): void {
    this.#sent += 1;
    this.#post({ kind: 'frame', type, id, body: bodyOf(value) });
  }

  noticed(): void {
    this.#post({ kind: 'noticed' });
  }

  /** Waits, in place, until everything was written. */
  flush(): void {
    const end = Date.now() + FLUSH_MS;
    for (;;) {
      const written = Atomics.load(this.#written, 0);
      const left = end - Date.now();
      if (written >= this.#sent || left <= 0) return;
      Atomics.wait(this.#written, 0, written, left);
    }
  }

  #post(message: ToWatcher): void {
    this.#watcher.postMessage(message);
  }
}

/** What a cell handed over may be circular, hold numbers that JSON has not, or be too large. */
function bodyOf(value: Readonly<Record<string, unknown>>): string {
  const body = safeJson(value);
  if (Buffer.byteLength(body) <= BODY_BYTES) return body;
  const text = `<a result of ${Buffer.byteLength(body)} bytes, which is too large to show>`;
  return JSON.stringify({ text, isMainResult: value['isMainResult'] === true, dropped: true });
}

function safeJson(value: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? String(one) : one));
  } catch {
    const plain = Object.entries(value).filter(
      ([, one]) => typeof one === 'string' || typeof one === 'boolean',
    );
    return JSON.stringify({ ...Object.fromEntries(plain), dropped: true });
  }
}
