import { readlinkSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { AskAnswer, AskQuestion, AskReply } from '../../gateway/contract.ts';
import { AnswerLine } from './answer-line.ts';
import { plainHost, questionLines } from './question.ts';
import { QuestionScreen } from './screen.ts';

/** Keys within this time were meant for something else, or are the terminal's reply to the command. Milliseconds. */
const SETTLE_MS = 500;

/** What is kept away from the terminal while a question stands on it. */
export interface Stage {
  /** Stops the command's output and input at the terminal, and our own notices. */
  hold(): void;
  release(): void;
  /** True while the terminal belongs to another job: touching it would stop us. */
  inBackground(): boolean;
}

interface Waiting {
  readonly question: AskQuestion;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch; the gateway's own clock decides. */
  readonly deadline: number;
  readonly settle: (answer: AskAnswer | AskReply) => void;
}

/**
 * Puts questions about unknown hosts to the person at the terminal, one at a time. Only a typed `once` or `sandbox` allows;
 * all else denies. How many may wait, and how long, is the gateway's to bound (`network.ask`).
 */
export class TerminalDesk {
  readonly #timeoutMs: number;
  readonly #by: string;
  readonly #queue: Waiting[] = [];
  /** Denied by a person: not asked again, so that a command cannot wear the person out. */
  readonly #denied = new Set<string>();
  #stage: Stage | undefined;
  #shown: ShownQuestion | undefined;
  #stopped = false;
  #closed = false;

  constructor(parts: {
    readonly timeoutMs: number;
    /** Who answers, for the record. */
    readonly by: string;
  }) {
    this.#timeoutMs = parts.timeoutMs;
    this.#by = parts.by;
  }

  /** The gateway's question. */
  ask(question: AskQuestion, signal: AbortSignal): Promise<AskAnswer | AskReply> {
    if (this.#stopped || this.#denied.has(keyOf(question)))
      return Promise.resolve({ answer: 'deny', by: `${this.#by}, earlier` });
    if (this.#closed) return Promise.resolve('deny');
    return new Promise((settle) => {
      this.#queue.push({ question, signal, deadline: Date.now() + this.#timeoutMs, settle });
      this.#next();
    });
  }

  /** From now on questions can be shown. */
  open(stage: Stage): void {
    this.#stage = stage;
    this.#next();
  }

  /** Denies what waits and whatever still comes; the terminal is as it was when this returns. */
  close(): void {
    this.#closed = true;
    this.#shown?.end('gone', 'the command has ended: denied');
    for (const { settle } of this.#queue.splice(0)) settle('deny');
  }

  #next(): void {
    const stage = this.#stage;
    if (stage === undefined || this.#shown !== undefined) return;
    const waiting = this.#queue.shift();
    if (waiting === undefined) return;
    if (waiting.signal.aborted || stage.inBackground()) {
      waiting.settle('deny');
      this.#next();
      return;
    }
    this.#show(waiting, stage);
  }

  #show(waiting: Waiting, stage: Stage): void {
    stage.hold();
    const over = (answer: AskAnswer | 'stop' | 'gone'): void => {
      this.#shown = undefined;
      stage.release();
      this.#settle(waiting, answer);
      this.#next();
    };
    try {
      this.#shown = new ShownQuestion(waiting, this.#queue.length, over);
    } catch {
      over('gone');
    }
  }

  #settle({ question, settle }: Waiting, answer: AskAnswer | 'stop' | 'gone'): void {
    if (answer === 'gone') {
      settle('deny');
      return;
    }
    if (answer === 'deny' || answer === 'stop') this.#denied.add(keyOf(question));
    settle({ answer: answer === 'stop' ? 'deny' : answer, by: this.#by });
    if (answer !== 'stop') return;
    this.#stopped = true;
    this.close();
  }
}

/** A desk at the controlling terminal; answers are recorded under the user and the terminal. */
export function deskAtTerminal(timeoutMs: number): TerminalDesk {
  return new TerminalDesk({ timeoutMs, by: `${userName()} at ${readlinkSync('/proc/self/fd/0')}` });
}

/** A user id need not have a name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? ''}`;
  }
}

function keyOf({ host, port }: AskQuestion): string {
  return `${host} ${port}`;
}

const ENDINGS = {
  once: 'allowed once',
  sandbox: 'allowed until the run ends',
  deny: 'denied',
  stop: 'denied, and nothing more is asked',
} as const;

/** One question on the screen, until it is answered, taken back or its time is up. */
class ShownQuestion {
  readonly #waiting: Waiting;
  readonly #screen: QuestionScreen;
  readonly #line = new AnswerLine();
  readonly #over: (answer: AskAnswer | 'stop' | 'gone') => void;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #onAbort = (): void => this.end('gone', 'nobody answered: denied');
  #listening = false;
  #hint = '';
  #ended = false;

  constructor(waiting: Waiting, more: number, over: (answer: AskAnswer | 'stop' | 'gone') => void) {
    this.#waiting = waiting;
    this.#over = over;
    this.#screen = new QuestionScreen(
      (keys) => this.#typed(keys),
      () => this.end('gone', ''),
    );
    this.#screen.show(questionLines(waiting.question, more));
    waiting.signal.addEventListener('abort', this.#onAbort);
    this.#timers.push(
      setTimeout(() => this.#listen(), SETTLE_MS),
      setInterval(() => this.#draw(), 1000),
    );
  }

  /** Takes it off the screen; only the first call counts. */
  end(answer: AskAnswer | 'stop' | 'gone', text: string): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#waiting.signal.removeEventListener('abort', this.#onAbort);
    const { host, port } = this.#waiting.question;
    this.#screen.leave(`glovebox: ${plainHost(host)}:${port}: ${text}`);
    this.#over(answer);
  }

  #listen(): void {
    this.#listening = true;
    this.#draw();
  }

  #typed(keys: Uint8Array): void {
    if (!this.#listening || this.#ended) return;
    const typed = this.#line.take(keys, performance.now());
    if (typed !== undefined && typed !== 'unknown') {
      this.end(typed, ENDINGS[typed]);
      return;
    }
    this.#hint = typed === 'unknown' ? 'type one of the words: ' : '';
    this.#draw();
  }

  #draw(): void {
    if (!this.#listening) return;
    const seconds = Math.max(0, Math.ceil((this.#waiting.deadline - Date.now()) / 1000));
    this.#screen.prompt(`  ${seconds} s, then deny. ${this.#hint}[deny] ${this.#line.text}`);
  }
}
