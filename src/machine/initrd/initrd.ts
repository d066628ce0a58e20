import type { GuestModule } from '../modules/closure.ts';
import { cpioArchive, type CpioEntry } from './cpio.ts';

const DIRECTORIES = ['dev', 'proc', 'sys', 'run', 'newroot', 'lib', 'lib/modules'];

/** The kernel opens /dev/console for its first process before that can make one (Documentation/admin-guide/devices.txt). */
const DEVICES: readonly CpioEntry[] = [
  { kind: 'device', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
  { kind: 'device', name: 'dev/null', mode: 0o666, major: 1, minor: 3 },
  { kind: 'device', name: 'dev/kmsg', mode: 0o600, major: 1, minor: 11 },
];

/**
 * The initial RAM disk, plain: the agent as `/init`, modules below `/lib/modules`, and `/modules`, which names them in the order in which they
 * are to be loaded; and gVisor's runtime as `/runsc`, where a guest kernel is to run in the machine. Pure.
 */
export function initrdArchive(agent: Buffer, modules: readonly GuestModule[], runtime?: Buffer): Buffer {
  const names = modules.map(({ name }) => `lib/modules/${name}.ko`);
  const order = names.map((name) => `/${name}\n`).join('');
  return cpioArchive([
    ...DIRECTORIES.map((name): CpioEntry => ({ kind: 'dir', name })),
    ...DEVICES,
    { kind: 'file', name: 'init', mode: 0o755, content: agent },
    ...(runtime === undefined
      ? []
      : [{ kind: 'file', name: 'runsc', mode: 0o755, content: runtime } as const]),
    ...modules.map(({ content }, i): CpioEntry => ({
      kind: 'file',
      name: names[i] ?? '',
      mode: 0o644,
      content,
    })),
    { kind: 'file', name: 'modules', mode: 0o644, content: Buffer.from(order, 'latin1') },
  ]);
}
