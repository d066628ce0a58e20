import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { PYTHON, until } from './attack.ts';
import { GLOVEBOX, type TestBox } from './box.ts';

/**
 * Holds a terminal: starts the command on it, copies what it prints to our stdout, obeys one JSON line at a time from our
 * stdin, and reports on descriptor 3. It keeps the terminal open itself, so that its modes can be read afterwards.
 */
const HOLDER = `
import base64, fcntl, json, os, select, signal, struct, sys, termios
master, slave = os.openpty()
def size(rows, cols):
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
def modes():
    attributes = termios.tcgetattr(slave)
    return dict(canonical=bool(attributes[3] & termios.ICANON), echo=bool(attributes[3] & termios.ECHO),
        signals=bool(attributes[3] & termios.ISIG), newline=bool(attributes[1] & termios.OPOST))
def tell(**facts):
    os.write(3, (json.dumps(facts) + '\\n').encode())
size(int(sys.argv[1]), int(sys.argv[2]))
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2): os.dup2(slave, fd)
    os.closerange(3, 64)
    os.execvp(sys.argv[3], sys.argv[3:])
tell(pid=pid)
os.set_blocking(master, False)
def copy():
    try:
        while data := os.read(master, 65536):
            while data: data = data[os.write(1, data):]
    except BlockingIOError:
        pass
ended = os.pidfd_open(pid)
orders = b''
while True:
    ready = select.select([0, master, ended], [], [])[0]
    if master in ready: copy()
    if 0 in ready:
        data = os.read(0, 65536)
        if not data: os._exit(0)
        orders += data
        *lines, orders = orders.split(b'\\n')
        for order in map(json.loads, lines):
            if 'keys' in order: os.write(master, base64.b64decode(order['keys']))
            if 'rows' in order: size(order['rows'], order['cols'])
            if 'modes' in order: tell(modes=modes())
    if ended in ready:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        copy()
        tell(code=status, modes=modes())
        os._exit(0)
`;

/** Modes of a terminal as a person meets them: lines, echo, Ctrl-C, line ends. */
export interface TerminalModes {
  readonly canonical: boolean;
  readonly echo: boolean;
  readonly signals: boolean;
  readonly newline: boolean;
}

export const COOKED: TerminalModes = { canonical: true, echo: true, signals: true, newline: true };

interface Fact {
  readonly pid?: number;
  readonly code?: number;
  readonly modes?: TerminalModes;
}

/** A command on a real terminal. */
export class Terminal implements AsyncDisposable {
  readonly #holder: ChildProcess;
  readonly #facts: Fact[] = [];
  readonly #waiters = new Set<() => void>();
  #seen = 0;
  #over = false;
  /** Everything it printed. */
  output = '';

  constructor(box: TestBox, command: readonly string[], rows = 24, cols = 80) {
    this.#holder = spawn(PYTHON, ['-c', HOLDER, String(rows), String(cols), ...command], {
      cwd: box.workspace,
      env: box.env({ TERM: 'xterm' }),
      stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
    });
    this.#holder.stdin?.on('error', () => undefined);
    this.#holder.stdout?.on('data', (chunk: Buffer) => {
      this.output += chunk.toString('latin1');
      this.#wake();
    });
    let text = '';
    this.#holder.stdio[3]?.on('data', (chunk: Buffer) => {
      const lines = (text + chunk.toString()).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) this.#facts.push(JSON.parse(line) as Fact);
      this.#wake();
    });
    this.#holder.once('close', () => {
      this.#over = true;
      this.#wake();
    });
  }

  /** `glovebox` with these words on a terminal. */
  static glovebox(box: TestBox, args: readonly string[], rows = 24, cols = 80): Terminal {
    return new Terminal(box, [process.execPath, GLOVEBOX, ...args], rows, cols);
  }

  /** Presses keys. */
  type(keys: string): void {
    this.#order({ keys: Buffer.from(keys).toString('base64') });
  }

  resize(rows: number, cols: number): void {
    this.#order({ rows, cols });
  }

  /** Resolves when `text` has been printed since the last call. */
  async said(text: string, timeoutMs = 30_000): Promise<void> {
    await this.#until(() => this.output.includes(text, this.#seen), `"${text}"`, timeoutMs);
    this.#seen = this.output.indexOf(text, this.#seen) + text.length;
  }

  /** Its process on the host. */
  async pid(): Promise<number> {
    return (await this.#fact((fact) => fact.pid)) ?? 0;
  }

  /** The terminal's modes now. */
  async modes(): Promise<TerminalModes | undefined> {
    const before = this.#facts.length;
    this.#order({ modes: true });
    await this.#until(() => this.#facts.length > before, 'the modes', 10_000);
    return this.#facts[before]?.modes;
  }

  /** Waits for the end; `modes` are those it left the terminal in. Negative code: the signal that ended it. */
  async ended(timeoutMs = 30_000): Promise<{ readonly code: number; readonly modes: TerminalModes }> {
    await this.#until(() => this.#facts.some((fact) => fact.code !== undefined), 'the end', timeoutMs);
    await this.#until(() => this.#over, 'the last output', timeoutMs);
    const end = this.#facts.find((fact) => fact.code !== undefined);
    return { code: end?.code ?? Number.NaN, modes: end?.modes ?? { ...COOKED, canonical: false } };
  }

  /** What it printed, as lines. */
  get lines(): readonly string[] {
    return this.output.replaceAll(/\r+\n/g, '\n').split('\n');
  }

  /** Takes the terminal away, as closing its window does. */
  hangUp(): void {
    this.#holder.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pid = await this.pid();
    this.hangUp();
    await this.#until(() => this.#over, 'the holder of the terminal to end', 10_000);
    await until(() => !existsSync(`/proc/${pid}`), 'the command on the terminal to end', 15_000);
  }

  async #fact<T>(pick: (fact: Fact) => T | undefined): Promise<T | undefined> {
    const found = (): T | undefined => this.#facts.map(pick).find((value) => value !== undefined);
    await this.#until(() => found() !== undefined, 'the holder to report', 10_000);
    return found();
  }

  #order(order: Readonly<Record<string, unknown>>): void {
    this.#holder.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  #until(condition: () => boolean, what: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        this.#waiters.delete(check);
        if (error === undefined) resolve();
        else reject(error);
      };
      const check = (): void => {
        if (condition()) settle();
        else if (this.#over)
          settle(
            new Error(`the terminal closed without ${what}: ${JSON.stringify(this.output.slice(-2000))}`),
          );
      };
      const timer = setTimeout(
        () =>
          settle(
            new Error(
              `waited ${timeoutMs} ms in vain for ${what}: ${JSON.stringify(this.output.slice(-2000))}`,
            ),
          ),
        timeoutMs,
      );
      this.#waiters.add(check);
      check();
    });
  }
}
