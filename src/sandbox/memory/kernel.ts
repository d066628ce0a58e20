import { constants } from 'node:os';
import type { CodeLanguage } from '../code/contract.ts';
import { encodeKernelFrame, KernelFrames } from '../code/frames.ts';
import { KERNELS, readKernel } from '../code/kernels.ts';
import type { CodeAnswer, CodeDisplay, CodeHandler } from './handlers.ts';
import type { MemoryProcess, Play } from './process.ts';

/** The interpreter that a command line starts, when it is one of the code runner's. */
export function kernelLanguage(argv: readonly string[]): 'python' | 'javascript' | 'bash' | undefined {
  const same = (language: CodeLanguage): boolean => KERNELS[language].argv.join('\0') === argv.join('\0');
  return (['python', 'javascript', 'bash'] as const).find(same);
}

interface Cell {
  readonly id: string;
  readonly code: string;
  readonly language: CodeLanguage;
}

/** Plays a kernel: speaks its protocol with the real code runner, and lets the handler run the cells. */
export class MemoryKernel implements Play {
  readonly #handler: CodeHandler;
  readonly #language: 'python' | 'javascript' | 'bash';
  readonly #state = new Map<string, unknown>();
  #count = 0;
  #interrupted = new AbortController();

  constructor(language: 'python' | 'javascript' | 'bash', handler: CodeHandler) {
    this.#language = language;
    this.#handler = handler;
  }

  takes(signal: number): boolean {
    if (signal !== constants.signals.SIGINT) return false;
    this.#interrupted.abort();
    return true;
  }

  async run(process: MemoryProcess): Promise<number> {
    const reader = readerOf(this.#language, () => this.#interrupted.abort());
    let turn: Promise<void> = Promise.resolve();
    this.#ready(process);
    for await (const data of process.stdin)
      for (const cell of reader(Buffer.from(data))) turn = turn.then(() => this.#cell(process, cell));
    await turn;
    return 0;
  }

  #ready(process: MemoryProcess): void {
    process.control.write(encodeKernelFrame('ready', '-', ''));
    mark(process, '-');
  }

  async #cell(process: MemoryProcess, cell: Cell): Promise<void> {
    const { id } = cell;
    const { control, own } = process;
    this.#interrupted = new AbortController();
    this.#count += 1;
    control.write(encodeKernelFrame('started', id, ''));
    const show = (result: CodeDisplay, isMainResult: boolean): void =>
      void control.write(encodeKernelFrame('result', id, JSON.stringify({ ...result, isMainResult })));
    const answer = await this.#answer(cell, {
      stdout: (text) => void own.stdout.write(text),
      stderr: (text) => void own.stderr.write(text),
      display: (result) => show(result, false),
    });
    if (answer.stdout !== undefined) own.stdout.write(answer.stdout);
    if (answer.stderr !== undefined) own.stderr.write(answer.stderr);
    if (answer.result !== undefined) show(answer.result, true);
    mark(process, id);
    const { error, exitCode } = answer;
    const outcome = {
      executionCount: this.#count,
      ...(error === undefined ? {} : { error: { traceback: `${error.name}: ${error.value}`, ...error } }),
      ...(exitCode === undefined ? {} : { exitCode }),
    };
    control.write(encodeKernelFrame('done', id, JSON.stringify(outcome)));
  }

  /** An interrupt is the end of the cell, whether or not the handler heeds it. */
  async #answer(
    { code, language }: Cell,
    outputs: {
      readonly stdout: (text: string) => void;
      readonly stderr: (text: string) => void;
      readonly display: (result: CodeDisplay) => void;
    },
  ): Promise<CodeAnswer> {
    const { signal } = this.#interrupted;
    const interrupted = new Promise<CodeAnswer>((resolve) => {
      signal.addEventListener('abort', () => resolve({ error: INTERRUPTED[language] }), { once: true });
    });
    try {
      const handled = this.#handler({ code, language, state: this.#state, signal, ...outputs });
      return (await Promise.race([handled, interrupted])) ?? {};
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      return { error: { name, value: message } };
    }
  }
}

/** What an interrupt is called there. */
const INTERRUPTED: Readonly<Record<CodeLanguage, { readonly name: string; readonly value: string }>> = {
  python: { name: 'KeyboardInterrupt', value: '' },
  javascript: { name: 'Error', value: 'the cell was interrupted' },
  typescript: { name: 'Error', value: 'the cell was interrupted' },
  bash: { name: 'Error', value: 'the cell was interrupted' },
};

function mark({ own }: MemoryProcess, id: string): void {
  for (const stream of [own.stdout, own.stderr]) stream.write(`\0${id}\0`);
}

/** Skips the kernel that is sent first, and finds the cells behind it. */
function readerOf(
  language: 'python' | 'javascript' | 'bash',
  interrupt: () => void,
): (data: Buffer) => readonly Cell[] {
  const kind = KERNELS[language];
  let skip = kind.opening(readKernel(kind)).length;
  const read = language === 'bash' ? bashCells() : framedCells(language, interrupt);
  return (data) => {
    const rest = data.subarray(Math.min(skip, data.length));
    skip -= data.length - rest.length;
    return rest.length === 0 ? [] : read(rest);
  };
}

function framedCells(
  language: 'python' | 'javascript',
  interrupt: () => void,
): (data: Buffer) => readonly Cell[] {
  const frames = new KernelFrames();
  return (data) =>
    frames.push(data).flatMap(({ kind, id, body }): readonly Cell[] => {
      if (kind === 'interrupt') interrupt();
      if (kind === 'run') return [{ id, code: body.toString(), language }];
      return kind === 'typescript' ? [{ id, code: body.toString(), language: 'typescript' }] : [];
    });
}

/** One line a cell: `__glovebox_cell ID $'CODE'`. */
function bashCells(): (data: Buffer) => readonly Cell[] {
  let held = '';
  return (data) => {
    const lines = (held + data.toString('latin1')).split('\n');
    held = lines.pop() ?? '';
    return lines.flatMap((line) => {
      const [, id, quoted = ''] = /^__glovebox_cell (\S+) \$'(.*)'$/.exec(line) ?? [];
      const bytes = quoted.replaceAll(/\\x([0-9a-f]{2})/g, (_, hex: string) =>
        String.fromCharCode(parseInt(hex, 16)),
      );
      const code = Buffer.from(bytes, 'latin1').toString('utf8');
      return id === undefined ? [] : [{ id, code, language: 'bash' as const }];
    });
  };
}
