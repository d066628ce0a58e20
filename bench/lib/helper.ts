import { spawn, type ChildProcess } from 'node:child_process';

/** Nothing that is asked takes this long; what does is stuck. */
const STUCK_MS = 120_000;

/** A helper that was left gets this long. */
const LEAVE_MS = 2000;

export interface HelperOptions {
  /** The Node.js that runs it; this one by default. */
  readonly node?: string;
  readonly nodeOptions?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** A helper program in a process of its own, asked by messages: one answer to each. */
export class Helper {
  readonly #name: string;
  readonly #child: ChildProcess;

  constructor(name: string, script: string, options: HelperOptions = {}) {
    this.#name = name;
    const { node = process.execPath, nodeOptions = [], args = [], env } = options;
    this.#child = spawn(node, [...nodeOptions, script, ...args], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      ...(env === undefined ? {} : { env }),
    });
  }

  /** @throws what the program says went wrong, or that it ended. */
  ask(question: object): Promise<Readonly<Record<string, unknown>>> {
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const done = (error: Error | undefined, answer: Readonly<Record<string, unknown>> = {}): void => {
        clearTimeout(timer);
        child.off('message', heard).off('exit', gone);
        if (error === undefined) resolve(answer);
        else reject(error);
      };
      const heard = (answer: unknown): void => {
        if (!isAnswer(answer)) return done(new Error(`${this.#name}: an answer that is none`));
        const { error } = answer;
        done(typeof error === 'string' ? new Error(`${this.#name}: ${error}`) : undefined, answer);
      };
      const gone = (code: number | null): void => done(new Error(`${this.#name} ended with ${code}`));
      const timer = setTimeout(() => done(new Error(`${this.#name} does not answer`)), STUCK_MS);
      child.once('message', heard).once('exit', gone);
      child.send(question, (error) => {
        if (error !== null) done(error);
      });
    });
  }

  async numbers(question: object): Promise<Readonly<Record<string, number>>> {
    const answer = await this.ask(question);
    const pairs = Object.entries(answer).flatMap(([name, value]) =>
      typeof value === 'number' ? [[name, value] as const] : [],
    );
    return Object.fromEntries(pairs);
  }

  /** It may put its own things away first; this program waits for that, and not for ever. */
  end(): void {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const timer = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS);
    child.once('exit', () => clearTimeout(timer));
    if (child.connected) child.disconnect();
  }
}

function isAnswer(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** The other end: answers each question, in a helper program; `putAway` is for what would outlive it. */
export function answering(
  answer: (question: Readonly<Record<string, unknown>>) => Promise<object>,
  putAway: () => Promise<void> = () => Promise.resolve(),
): void {
  const leave = (): Promise<void> => putAway().finally(() => process.exit(0));
  process.on('message', (question: unknown) => {
    if (!isAnswer(question)) return;
    answer(question)
      .catch((error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }))
      .then((reply) => process.send?.(reply))
      .catch(() => undefined);
  });
  process.once('disconnect', () => void leave());
}

export const text = (value: unknown): string => (typeof value === 'string' ? value : '');
export const count = (value: unknown): number => (typeof value === 'number' ? value : 0);
