import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { ContainmentUsage } from '../contract.ts';
import type { Controller } from '../limits/facts.ts';
import { readCurrent, readUsage, type CurrentUsage } from '../limits/usage.ts';
import { ask, type EngineClient } from './client.ts';

/** What the kernel counted in a container's control group, which goes with the container: so it is read while that stands. */
export class ContainerUsage {
  /** Resolves when the group is known, or cannot be. */
  readonly known: Promise<void>;
  readonly #client: EngineClient;
  readonly #name: string;
  #found: () => void = () => undefined;
  #groups: { readonly version: 1 | 2; readonly dirs: ReadonlyMap<Controller, string> } | undefined;
  #last: ContainmentUsage = { hit: [] };

  constructor(client: EngineClient, name: string) {
    this.#client = client;
    this.#name = name;
    this.known = new Promise((resolve) => {
      this.#found = resolve;
    });
  }

  /** Asks for the container's first process. Preconditions: it runs. */
  async look(): Promise<void> {
    const args = ['container', 'inspect', '--format', '{{.State.Pid}}', this.#name];
    const { out } = await ask(this.#client, args);
    const pid = Number(out.trim());
    if (Number.isSafeInteger(pid) && pid > 0) this.#groups = groupsOf(pid);
    this.#found();
  }

  read(): void {
    if (this.#groups === undefined) return;
    const usage = readUsage(this.#groups.version, this.#groups.dirs);
    // Nothing counted: the group went while it was read.
    if (usage.cpuMs !== undefined || usage.peakMemoryBytes !== undefined) this.#last = usage;
  }

  /** Up to now, or up to its end. */
  usage(): ContainmentUsage {
    this.read();
    return this.#last;
  }

  current(): CurrentUsage {
    return this.#groups === undefined ? {} : readCurrent(this.#groups.version, this.#groups.dirs);
  }
}

const CONTROLLERS: readonly Controller[] = ['memory', 'pids', 'cpu', 'cpuacct'];
const ROOT = '/sys/fs/cgroup';

/** The control groups of a process (cgroups(7), /proc/PID/cgroup). */
function groupsOf(pid: number): { readonly version: 1 | 2; readonly dirs: ReadonlyMap<Controller, string> } {
  const version = existsSync(path.join(ROOT, 'cgroup.controllers')) ? 2 : 1;
  const dirs = new Map<Controller, string>();
  for (const line of readText(`/proc/${pid}/cgroup`).split('\n')) {
    const [, names = '', group] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (group === undefined) continue;
    for (const controller of CONTROLLERS) {
      if (version === 2 && names === '') dirs.set(controller, path.join(ROOT, group));
      else if (names.split(',').includes(controller))
        dirs.set(controller, path.join(ROOT, controller, group));
    }
  }
  return { version, dirs };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
