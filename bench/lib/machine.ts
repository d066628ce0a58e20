import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { outputOf } from './command.ts';

const GIB = 1024 ** 3;

/** What the figures were taken on, in one line. */
export function machineLine(): string {
  const cpu = (cpus()[0]?.model ?? 'unknown processor').replace(/\s+/g, ' ').trim();
  const user = process.getuid?.() === 0 ? 'as root' : 'as an ordinary user';
  return [
    `${cpu}, ${availableParallelism()} cores`,
    `${Math.round(totalmem() / GIB)} GiB`,
    `Linux ${release()}`,
    distribution(),
    `Node.js ${process.versions.node}`,
    tool('bwrap'),
    user,
  ].join(' · ');
}

/** Load average over the last minute. */
export const load = (): number => loadavg()[0] ?? 0;

function distribution(): string {
  try {
    const line = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'));
    return line?.[1] ?? 'unknown distribution';
  } catch {
    return 'unknown distribution';
  }
}

function tool(name: string): string {
  try {
    return outputOf({ argv: [name, '--version'], cwd: '/', env: process.env }).trim();
  } catch {
    return `no ${name}`;
  }
}
