import { readdirSync, readFileSync, readlinkSync, statSync, type Stats } from 'node:fs';

/** One file without a name that lives in memory only (memfd_create(2)); it may be larger than what any process has mapped of it. */
interface MemoryFile {
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
}

/** A process of a guest kernel's runtime has a heap of its own; those that stand for the guest's processes have next to none. */
const RUNTIME_ANON_BYTES = 1024 * 1024;
/**
 * Between looks at all processes. The runtime's files and the heaps of its own processes are looked at each time: a guest fills them fast,
 * the heaps with what its pipes and sockets hold.
 */
const SURVEY_MS = 1000;
/** The runtime makes its files before the guest runs; looking for others is caution. */
const RESCAN_MS = 10_000;
/** The runtime's processes talk through windows of 4 MiB, which are not worth a look each time; the guest's memory grows by whole GiB. */
const SMALL_FILE_BYTES = 64 * 1024 * 1024;
/** Bytes of a block in `stat` (stat(2)), whatever the file system's own are. */
const BLOCK_BYTES = 512;

export interface JailMemoryInput {
  /** The jail's outermost process, a child of ours that has not been waited for. */
  readonly pid: number;
  /** The jail holds a guest kernel, whose programs live in its memory files. */
  readonly guestKernel: boolean;
}

/** Whether a jail can be looked into: this kernel tells a process's children (CONFIG_PROC_CHILDREN) and its share of memory (since 4.14). */
export function canReadJails(): boolean {
  const files = [`/proc/self/task/${process.pid}/children`, '/proc/self/smaps_rollup'];
  return files.every((file) => readText(file) !== undefined);
}

/**
 * Memory that a jail's processes hold, by the host's kernel, which tells it to the user who made their user namespace
 * (user_namespaces(7)). Processes are found by descent alone: what the jail's own process file system lists is in its pid namespace.
 */
export class JailMemory {
  readonly #input: JailMemoryInput;
  readonly #pageBytes = pageBytes();
  #base: string | undefined;
  /** Of a guest kernel's runtime, as of the last survey: processes with a heap, and what the others have. */
  #own: { readonly heaps: readonly string[]; readonly rest: number; readonly at: number } = NO_SURVEY;
  #files: readonly MemoryFile[] = [];
  #scannedAt = -Infinity;

  constructor(input: JailMemoryInput) {
    this.#input = input;
  }

  /**
   * Bytes; undefined when there is nothing to see, before the jail stands or after its end. Up to `enough` it may be too high by what processes
   * share; above it is exact, as far as the kernel counts it for a process: page tables and other structures of the host's are left out.
   */
  read(enough: number): number | undefined {
    const base = (this.#base ??= this.#find());
    if (base === undefined) return undefined;
    const seen = this.#input.guestKernel ? this.#guest(base) : this.#jail(base, enough);
    if (seen === undefined) this.#base = undefined;
    return seen;
  }

  /** The jail's first process is the only child of bubblewrap's, and its file system of processes shows the whole jail. */
  #find(): string | undefined {
    const { pid } = this.#input;
    const [first] = (readText(`/proc/${pid}/task/${pid}/children`) ?? '').trim().split(' ');
    return first === undefined || first === '' ? undefined : `/proc/${first}/root/proc`;
  }

  #jail(base: string, enough: number): number | undefined {
    const processes = residents(base, this.#pageBytes);
    return processes.length === 0 ? undefined : shared(base, processes, enough);
  }

  #guest(base: string): number | undefined {
    const now = performance.now();
    const sizes = this.#files.map(sizeOf);
    const heaps = this.#own.heaps.map((pid) => resident(base, pid, this.#pageBytes)?.anonBytes);
    const lost = sizes.length === 0 || sizes.includes(undefined);
    if (!lost && !heaps.includes(undefined) && now - this.#own.at < SURVEY_MS)
      return this.#own.rest + sum(heaps) + sum(sizes);
    const processes = residents(base, this.#pageBytes);
    if (processes.length === 0) return undefined;
    const large = processes.filter(({ anonBytes }) => anonBytes >= RUNTIME_ANON_BYTES);
    const anon = sum(processes.map(({ anonBytes }) => anonBytes));
    const rest = anon - sum(large.map(({ anonBytes }) => anonBytes));
    this.#own = { heaps: large.map(({ pid }) => pid), rest, at: now };
    if (lost || now - this.#scannedAt > RESCAN_MS) {
      this.#files = memoryFiles(base, processes);
      this.#scannedAt = now;
    }
    return anon + sum(this.#files.map(sizeOf));
  }
}

const NO_SURVEY = { heaps: [], rest: 0, at: -Infinity };

const sum = (numbers: readonly (number | undefined)[]): number =>
  numbers.reduce<number>((total, one) => total + (one ?? 0), 0);

/** What a process has of the machine's memory (proc_pid_statm(5)). */
interface Resident {
  readonly pid: string;
  readonly bytes: number;
  /** Of its own: no part of any file. */
  readonly anonBytes: number;
}

function residents(base: string, pageSize: number): Resident[] {
  const pids = names(base).filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => resident(base, pid, pageSize) ?? []);
}

function resident(base: string, pid: string, pageSize: number): Resident | undefined {
  const [, pages, file] = (readText(`${base}/${pid}/statm`) ?? '').split(' ').map(Number);
  if (pages === undefined || file === undefined) return undefined;
  return { pid, bytes: pages * pageSize, anonBytes: (pages - file) * pageSize };
}

/** The large memory files that a guest kernel's runtime holds open, each once. */
function memoryFiles(base: string, processes: readonly Resident[]): readonly MemoryFile[] {
  const files = new Map<string, MemoryFile>();
  for (const { pid, anonBytes } of processes) {
    if (anonBytes < RUNTIME_ANON_BYTES) continue;
    for (const number of names(`${base}/${pid}/fd`)) {
      const path = `${base}/${pid}/fd/${number}`;
      if (readLink(path)?.startsWith('/memfd:') !== true) continue;
      const seen = statOf(path);
      if (seen === undefined || seen.size < SMALL_FILE_BYTES) continue;
      files.set(`${seen.dev}:${seen.ino}`, { path, dev: seen.dev, ino: seen.ino });
    }
  }
  return [...files.values()];
}

/** Undefined when the descriptor is closed, or another file's by now. */
function sizeOf({ path, dev, ino }: MemoryFile): number | undefined {
  const seen = statOf(path);
  return seen?.dev === dev && seen.ino === ino ? seen.blocks * BLOCK_BYTES : undefined;
}

/**
 * A page that several processes share is counted once only where the kernel divides it among them, which takes a walk through their page
 * tables; so that is for sums beyond `enough`. A process that gives no answer has ended meanwhile.
 */
function shared(base: string, processes: readonly Resident[], enough: number): number {
  const most = sum(processes.map(({ bytes }) => bytes));
  if (most <= enough) return most;
  return sum(processes.map(({ pid }) => proportional(readText(`${base}/${pid}/smaps_rollup`))));
}

/** Its share of what is in no file, or of everything before Linux 5.9 (proc_pid_smaps_rollup(5)); swapped pages count as in `stat`. */
function proportional(text: string | undefined): number | undefined {
  const field = (name: string): number | undefined => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text ?? '');
    return match?.[1] === undefined ? undefined : Number(match[1]) * 1024;
  };
  const anon = field('Pss_Anon');
  const shmem = field('Pss_Shmem');
  const share = anon === undefined || shmem === undefined ? field('Pss') : anon + shmem;
  return share === undefined ? undefined : share + (field('SwapPss') ?? 0);
}

/** AT_PAGESZ (6) of the auxiliary vector, pairs of words of 8 bytes (getauxval(3)): statm counts in pages. */
function pageBytes(): number {
  const words = readFileSync('/proc/self/auxv');
  for (let at = 0; at + 16 <= words.length; at += 16) {
    if (words.readBigUInt64LE(at) === 6n) return Number(words.readBigUInt64LE(at + 8));
  }
  return 4096;
}

function names(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

/** What cannot be read has ended, or is about to. */
function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function readLink(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}

function statOf(file: string): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
