import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { LimitName } from '../../policy/contract.ts';
import type { ContainmentUsage } from '../contract.ts';
import type { Controller } from './facts.ts';

/** What the kernel counted in a group, and which limits it enforced. Files that a kernel lacks are left out. */
export function readUsage(version: 1 | 2, dirs: ReadonlyMap<Controller, string>): ContainmentUsage {
  const read = (controller: Controller, file: string): string => {
    const dir = dirs.get(controller);
    return dir === undefined ? '' : readText(path.join(dir, file));
  };
  const peakMemoryBytes = count(read('memory', version === 1 ? 'memory.max_usage_in_bytes' : 'memory.peak'));
  const peakPids = count(read('pids', 'pids.peak'));
  const cpuMs =
    version === 1 ? nanoseconds(read('cpuacct', 'cpuacct.usage')) : microseconds(read('cpu', 'cpu.stat'));
  const kills =
    field(read('memory', version === 1 ? 'memory.oom_control' : 'memory.events'), 'oom_kill') ?? 0;
  const forks = field(read('pids', 'pids.events'), 'max') ?? 0;
  const hit: LimitName[] = [];
  if (kills > 0) hit.push('memory');
  if (forks > 0) hit.push('pids');
  return {
    ...(peakMemoryBytes === undefined ? {} : { peakMemoryBytes }),
    ...(cpuMs === undefined ? {} : { cpuMs }),
    ...(peakPids === undefined ? {} : { peakPids }),
    hit,
  };
}

/** What a group uses at this moment. */
export interface CurrentUsage {
  readonly memoryBytes?: number;
  readonly cpuMs?: number;
  readonly pids?: number;
}

export function readCurrent(version: 1 | 2, dirs: ReadonlyMap<Controller, string>): CurrentUsage {
  const read = (controller: Controller, file: string): string => {
    const dir = dirs.get(controller);
    return dir === undefined ? '' : readText(path.join(dir, file));
  };
  const memoryBytes = count(read('memory', version === 1 ? 'memory.usage_in_bytes' : 'memory.current'));
  const pids = count(read('pids', 'pids.current'));
  const cpuMs =
    version === 1 ? nanoseconds(read('cpuacct', 'cpuacct.usage')) : microseconds(read('cpu', 'cpu.stat'));
  return {
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(cpuMs === undefined ? {} : { cpuMs }),
    ...(pids === undefined ? {} : { pids }),
  };
}

function nanoseconds(text: string): number | undefined {
  const value = count(text);
  return value === undefined ? undefined : Math.round(value / 1e6);
}

function microseconds(text: string): number | undefined {
  const value = field(text, 'usage_usec');
  return value === undefined ? undefined : Math.round(value / 1000);
}

/** A file with one number. */
function count(text: string): number | undefined {
  return /^\d+\n?$/.test(text) ? Number(text) : undefined;
}

/** A file with lines `name number`. */
function field(text: string, name: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? undefined : count(line.slice(name.length + 1));
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
