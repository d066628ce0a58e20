import { fstatSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { isatty } from 'node:tty';
import type { StdioMode } from '../agent/contract.ts';
import { GloveboxError } from '../base/errors.ts';
import type { JailStdio } from '../drivers/bubblewrap/driver.ts';
import { ensurePrivateDir } from '../base/paths.ts';

/** What stands behind one of our own first three descriptors. */
export type DescriptorKind = 'tty' | 'file' | 'stream' | 'null' | 'directory' | 'device' | 'closed';

/** How the command's descriptors are wired to ours. */
export interface StdioPlan {
  /** What the jail's outer process gets as 0, 1 and 2. */
  readonly jail: JailStdio;
  /** What the command gets. */
  readonly command: readonly [StdioMode, StdioMode, StdioMode];
  /** True: the command has a terminal of its own, and ours is set to raw mode. */
  readonly terminal: boolean;
}

export interface StdioInput {
  readonly kinds: readonly [DescriptorKind, DescriptorKind, DescriptorKind];
  /** Output has to be counted, so it passes through us. */
  readonly countOutput: boolean;
  /** Landlock holds a command back from reopening a file descriptor with more rights. */
  readonly landlock: boolean;
  /** A guest kernel stands between: it keeps an offset of its own for a file, and would overwrite what others append. */
  readonly guestKernel?: boolean;
}

/**
 * No terminal of the caller's ever enters the sandbox: whoever holds one can push keys into it (ioctl_tty(2), TIOCSTI).
 * With a terminal on both ends the command gets its own; a lone one is relayed through a pipe. Pipes and sockets are
 * handed over as they are; files too where Landlock is there.
 *
 * @throws E_USAGE for a directory or a device: the descriptor alone would be a way out (fchdir(2)).
 */
export function chooseStdio(input: StdioInput): StdioPlan {
  const { kinds } = input;
  kinds.forEach(refuseDangerous);
  const terminal = kinds[0] === 'tty' && kinds[1] === 'tty' && !input.countOutput;
  const direct = (fd: 0 | 1 | 2): boolean => {
    if (input.guestKernel === true || (fd !== 0 && input.countOutput)) return false;
    return kinds[fd] === 'stream' || kinds[fd] === 'null' || (kinds[fd] === 'file' && input.landlock);
  };
  const mode = (fd: 0 | 1 | 2): StdioMode => {
    if (kinds[fd] === 'closed') return 'null';
    if (kinds[fd] === 'tty' && terminal) return 'pty';
    return direct(fd) ? 'inherit' : 'pipe';
  };
  return {
    jail: [
      direct(0) ? 'inherit' : 'ignore',
      direct(1) ? 'inherit' : 'ignore',
      direct(2) ? 'inherit' : 'pipe',
    ],
    command: [mode(0), mode(1), mode(2)],
    terminal,
  };
}

function refuseDangerous(kind: DescriptorKind, fd: number): void {
  if (kind !== 'directory' && kind !== 'device') return;
  const name = ['stdin', 'stdout', 'stderr'][fd] ?? `descriptor ${fd}`;
  throw new GloveboxError('E_USAGE', {
    what: `${name} is a ${kind}`,
    why: 'a command that holds it could reach the host through it',
    next: `Redirect ${name} from or to a file, a pipe or /dev/null.`,
  });
}

/** True when the terminal belongs to another job: reading it, or changing its mode, would stop us (SIGTTIN, SIGTTOU). */
export function inBackground(): boolean {
  const { group, foreground } = jobControl();
  return group !== foreground;
}

/** Our process group, the number of our controlling terminal (0: none) and the group it belongs to (proc_pid_stat(5)). */
function jobControl(): Readonly<Record<'group' | 'terminal' | 'foreground', number>> {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { group: Number(group), terminal: Number(terminal), foreground: Number(foreground) };
}

/**
 * Why nobody can be asked at the terminal; undefined when somebody can. A pipe as stdout is fed past us, and what reads it may draw
 * on the same terminal, over the question.
 */
export function whyNotAsked(kinds: readonly DescriptorKind[]): string | undefined {
  if (kinds[0] !== 'tty') return 'stdin is not a terminal';
  if (kinds[2] !== 'tty') return 'stderr is not a terminal';
  if (kinds[1] === 'stream') return 'stdout is a pipe, and what reads it may draw on the terminal';
  return fstatSync(0).rdev === jobControl().terminal ? undefined : 'stdin is not the controlling terminal';
}

/** What one of our own descriptors is. A terminal that is somebody else's at the moment gives no input. */
export function descriptorKind(fd: number): DescriptorKind {
  try {
    const stat = fstatSync(fd);
    if (stat.isFile()) return 'file';
    if (stat.isDirectory()) return 'directory';
    if (stat.isFIFO() || stat.isSocket()) return 'stream';
    return stat.isCharacterDevice() ? characterDevice(fd, stat.rdev) : 'device';
  } catch {
    return 'closed';
  }
}

/** Only here, so that a start without a terminal does not load what Node has for them. */
function characterDevice(fd: number, device: number): DescriptorKind {
  if (HARMLESS_DEVICES.has(device)) return 'null';
  if (!isatty(fd)) return 'device';
  return fd === 0 && inBackground() ? 'closed' : 'tty';
}

/** /dev/null, zero, full, random and urandom: major 1, minors 3, 5, 7, 8, 9 (linux/Documentation/admin-guide/devices.txt). */
const HARMLESS_DEVICES: ReadonlySet<number> = new Set([3, 5, 7, 8, 9].map((minor) => (1 << 8) | minor));

/** Where the kernel's Landlock level is remembered: finding it out costs a process, and it changes with the kernel only. */
function landlockFile(cacheDir: string): string {
  return path.join(cacheDir, `landlock-${release()}`);
}

/** True when an earlier run on this kernel found Landlock; unknown counts as no. */
export function hasLandlock(cacheDir: string): boolean {
  try {
    return Number(readFileSync(landlockFile(cacheDir), 'utf8')) > 0;
  } catch {
    return false;
  }
}

/** Remembers what the agent found. Losing it costs a relay, so a failure is not worth a word. */
export function rememberLandlock(cacheDir: string, abi: number): void {
  try {
    if (abi > 0 === hasLandlock(cacheDir)) return;
    writeFileSync(path.join(ensurePrivateDir(cacheDir), path.basename(landlockFile(cacheDir))), String(abi), {
      mode: 0o600,
    });
  } catch {
    return;
  }
}
