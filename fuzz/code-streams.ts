import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import path from 'node:path';
import { CODE_CAPS } from '../src/sandbox/code/caps.ts';
import { encodeKernelFrame, KernelFrames } from '../src/sandbox/code/frames.ts';
import { MarkedStream } from '../src/sandbox/code/marks.ts';
import { AttachServer } from '../src/sandbox/attach/server.ts';
import { readOrRefused } from './image-parsers.ts';
import { bytes, promise } from './net-parsers.ts';
import type { AsyncFuzzTarget, FuzzTarget } from './net-parsers.ts';

const ID = 'c0ffee00';
const MARK = Buffer.from(`\0${ID}\0`);

/** The input whole, and byte by byte: how a stream is cut must change nothing. */
const cuts = (input: Uint8Array): readonly (readonly Buffer[])[] => [
  [Buffer.from(input)],
  Array.from(input, (byte) => Buffer.from([byte])),
];

/** What a kernel in the sandbox sends. */
export const CODE_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'kernel frames',
    seeds: [
      Buffer.concat([encodeKernelFrame('result', 'a1', '{"text":"x"}'), encodeKernelFrame('done', '-', '')]),
      bytes(`result a1 ${CODE_CAPS.frameBytes}\nabc`),
    ],
    run: (input) => {
      const [whole, single] = cuts(input).map((parts) =>
        readOrRefused(() => {
          const frames = new KernelFrames();
          return parts.flatMap((part) => frames.push(part));
        }, ['E_CODE_KERNEL']),
      );
      promise(
        JSON.stringify(whole) === JSON.stringify(single),
        'the pieces that frames come in change nothing',
      );
      for (const { kind, id, body } of whole ?? [])
        promise(
          /^[a-z]{1,16}$/.test(kind) && /^(?:-|[0-9a-f]{1,64})$/.test(id) && body.length <= input.length,
          'a frame has a kind, an id and what came',
        );
    },
  },
  {
    name: 'kernel marks',
    seeds: [Buffer.concat([Buffer.from('before\0'), MARK, Buffer.from('after')]), MARK, MARK.subarray(0, 5)],
    run: (input) => {
      const at = Buffer.from(input).indexOf(MARK);
      const expected =
        at < 0
          ? Buffer.from(input)
          : Buffer.concat([input.subarray(0, at), input.subarray(at + MARK.length)]);
      for (const parts of cuts(input)) {
        const passed: Buffer[] = [];
        const stream = new MarkedStream((data) => passed.push(Buffer.from(data)));
        void stream.until(ID);
        for (const part of parts) stream.push(part);
        stream.finish();
        promise(Buffer.concat(passed).equals(expected), 'the mark is taken out, and nothing else');
      }
    },
  },
];

/** A sandbox's owner that does nothing but keep what it was asked, behind a real socket. */
export class AttachField implements AsyncDisposable {
  readonly #dir = mkdtempSync('/var/tmp/gb-fuzz-attach-');
  readonly #path = path.join(this.#dir, 's');
  readonly #asked: string[] = [];
  /** What sessions were handed behind their request. */
  readonly #sessions: Buffer[] = [];
  #server: AttachServer | undefined;

  async open(): Promise<this> {
    const asked = (what: string): void => void this.#asked.push(what);
    this.#server = await AttachServer.listen({
      path: this.#path,
      owner: {
        info: () => ({ id: 'x' }),
        kill: async () => asked('kill'),
        setTimeout: (ms) => asked(`set-timeout ${typeof ms}`),
        pause: async () => asked('pause'),
        resume: async () => asked('resume'),
        metrics: () => ({}),
        programs: () => [],
      },
      session: async (client) => void this.#sessions.push(await readAll(client)),
    });
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server?.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  target(): AsyncFuzzTarget {
    return {
      name: 'attach request',
      seeds: ['{"ask":"info"}\n', '{"ask":"set-timeout","timeoutMs":5}\n', '{"ask":"kill"}\n']
        .map(bytes)
        .concat(Buffer.concat([Buffer.from('{"ask":"session"}\n'), Buffer.from([0, 1, 2, 0xff])])),
      run: (input) => this.#run(Buffer.from(input)),
    };
  }

  async #run(input: Buffer): Promise<void> {
    this.#asked.length = this.#sessions.length = 0;
    const socket = createConnection({ path: this.#path });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.end(input);
    const said = (await readAll(socket)).toString('utf8');
    promise(said === '' || typeof answerOf(said).ok === 'boolean', 'an answer is one line, or there is none');
    const request = requestOf(input);
    const acts = ['kill', 'pause', 'resume', 'set-timeout'].includes(String(request?.['ask']));
    promise(this.#asked.length === 0 || acts, 'the owner does what was asked and nothing else');
    promise(
      this.#asked.every((what) => what !== 'set-timeout undefined'),
      'a time is a number',
    );
    const rest = input.subarray(input.indexOf(10) + 1);
    for (const session of this.#sessions)
      promise(request?.['ask'] === 'session' && session.equals(rest), 'a session gets what came behind');
  }
}

async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
  if (!socket.readableEnded)
    await new Promise((resolve) => socket.once('end', resolve).once('close', resolve));
  return Buffer.concat(chunks);
}

function answerOf(said: string): { readonly ok?: unknown } {
  promise(said.indexOf('\n') === said.length - 1, 'one line');
  return JSON.parse(said) as { readonly ok?: unknown };
}

function requestOf(input: Buffer): Readonly<Record<string, unknown>> | undefined {
  const end = input.indexOf(10);
  try {
    const value: unknown = JSON.parse(input.toString('utf8', 0, Math.max(0, end)));
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
