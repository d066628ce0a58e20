import { readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import type { CurrentUsage } from '../drivers/limits/usage.ts';
import type { PlanLimits } from '../drivers/contract.ts';
import type { SandboxMetrics } from './chamber.ts';

export interface MeterInput {
  readonly limits: PlanLimits;
  readonly workspace: string;
  readonly current: () => CurrentUsage;
}

/** Measures one sandbox; the share of the CPU is that since the last measurement. */
export class Meter {
  readonly #input: MeterInput;
  readonly #cpuCount: number;
  #last = { at: performance.now(), cpuMs: 0 };

  constructor(input: MeterInput) {
    this.#input = input;
    this.#cpuCount = Math.min(input.limits.cpu ?? Infinity, availableParallelism());
  }

  measure(): SandboxMetrics {
    const { limits, workspace, current } = this.#input;
    const { cpuMs, memoryBytes, pids } = current();
    const disk = statfsSync(workspace);
    return {
      timestamp: Date.now(),
      cpuUsedPct: this.#share(cpuMs ?? 0),
      cpuCount: this.#cpuCount,
      ...(cpuMs === undefined ? {} : { cpuMs }),
      ...(memoryBytes === undefined ? {} : { memUsed: memoryBytes }),
      memTotal: Math.min(limits.memoryBytes ?? Infinity, totalmem()),
      ...(pids === undefined ? {} : { pids }),
      diskUsed: (disk.blocks - disk.bfree) * disk.bsize,
      diskTotal: disk.blocks * disk.bsize,
    };
  }

  #share(cpuMs: number): number {
    const at = performance.now();
    const passed = (at - this.#last.at) * this.#cpuCount;
    const used = cpuMs - this.#last.cpuMs;
    this.#last = { at, cpuMs };
    return passed <= 0 ? 0 : Math.round(Math.min(100, Math.max(0, (100 * used) / passed)) * 10) / 10;
  }
}

/** Memory that can be had without swapping, in bytes: proc_meminfo(5), MemAvailable. */
export function availableMemory(): number {
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return Number(match?.[1] ?? 0) * 1024;
}
