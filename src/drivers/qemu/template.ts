import { createHash } from 'node:crypto';
import { readFileSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { qemuArgs, type FileServer, type MachineInput, type MachineJailInput } from './args.ts';

/**
 * A machine that stopped where it would be told what to be: it knows nothing of any sandbox. One file: its memory as it lies in the machine,
 * then what QEMU and its devices have to know.
 */
export interface MachineTemplate {
  /** On the host; read-only. */
  readonly file: string;
  /** Length of the file. */
  readonly bytes: number;
  /** A sandbox ran in it, whose processes go on in the machine that begins there. Default false. */
  readonly live?: boolean;
  /** That sandbox had run nothing yet: it is nobody's. Default false. */
  readonly unused?: boolean;
}

/** Everything that a machine is made of before it is told anything. */
export interface TemplateInput
  extends
    Omit<MachineInput, 'network' | 'disk' | 'memory' | 'control'>,
    Pick<MachineJailInput, 'agent' | 'kernel' | 'initrd' | 'disk'> {
  readonly bubblewrap: string;
  /** Directory that jails mount their private files on. */
  readonly scratch: string;
  /** Needed when the machine shares anything. */
  readonly server?: FileServer;
}

/** SHA-256 of the files that it boots. */
export interface BootedFiles {
  readonly kernel: string;
  readonly initrd: string;
  readonly disk?: string;
}

/** Changes with the form of the file, and with what is done to a machine before it is saved. */
const FORMAT = '2';

/** Its memory; the rest follows behind. Bytes. */
export const memoryEnd = ({ memoryBytes }: Pick<MachineInput, 'memoryBytes'>): number =>
  Math.ceil(memoryBytes / MEBIBYTE) * MEBIBYTE;

const MEBIBYTE = 1024 ** 2;

/** A machine of this one's shape, as it is saved. Pure. */
export function savedArgs({ tscKhz, ...machine }: TemplateInput): readonly string[] {
  return qemuArgs({
    ...machine,
    ...(tscKhz === undefined ? {} : { tscKhz }),
    disk: machine.disk !== undefined,
    network: true,
    memory: 'saved',
    control: true,
  });
}

/**
 * The name of a template: of everything that it follows from. Only the frequency of the clock is left out, of which some processors say something
 * else each time they are asked.
 */
export function templateKey(input: TemplateInput, files: BootedFiles): string {
  const { tscKhz: _, ...machine } = input;
  const programs = [input.qemu, firmwareOf(input.qemu), input.server?.program].map(identityOf);
  const parts = [FORMAT, files, savedArgs(machine), programs, processorOf(input)];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

function firmwareOf(qemu: string): string {
  return path.join(path.dirname(path.dirname(realpathSync(qemu))), 'share/qemu/qboot.rom');
}

/** Another one when the file was replaced. */
function identityOf(file: string | undefined): readonly string[] {
  const stat = file === undefined ? undefined : statSync(file, { bigint: true, throwIfNoEntry: false });
  if (file === undefined || stat === undefined) return [];
  return [realpathSync(file), ...[stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].map(String)];
}

/** The guest's kernel has found out what the processor can do, and how fast its clock is. */
function processorOf({ arch }: Pick<MachineInput, 'arch'>): readonly string[] {
  const fields =
    arch === 'x64' ? /^(?:vendor_id|cpu family|model|model name|stepping|flags)\s*:/ : /^(?:CPU |Features)/;
  const [first = ''] = readFileSync('/proc/cpuinfo', 'utf8').split('\n\n');
  return first.split('\n').filter((line) => fields.test(line));
}
