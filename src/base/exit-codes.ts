/**
 * Exit codes of the command line. The contained command's own code passes through unchanged.
 *
 * Source: POSIX shell conventions (126, 127, 128+n) and timeout(1) (124, 125, 137).
 */
export const EXIT = {
  ok: 0,
  /** The command passed its wall-clock limit. */
  timedOut: 124,
  /** Glovebox itself failed or refused; the command did not run. */
  refused: 125,
  /** The command exists but cannot be executed. */
  notExecutable: 126,
  /** The command does not exist inside the sandbox. */
  notFound: 127,
  /** Base for "ended by signal n": 128 + n. */
  signalBase: 128,
  /** Ended by a limit with SIGKILL; the limit is named on stderr. */
  limit: 137,
} as const;

/** Signal numbers of Linux that may end a command (asm-generic/signal.h). */
export const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGWINCH: 28,
  SIGSYS: 31,
};

/** `SIGKILL` of 9, or the number itself. */
export function signalName(number: number): string {
  return Object.keys(SIGNAL_NUMBERS).find((name) => SIGNAL_NUMBERS[name] === number) ?? `signal ${number}`;
}
