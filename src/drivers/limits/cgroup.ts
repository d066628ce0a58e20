import { existsSync, mkdirSync, readFileSync, rmdirSync, watch, writeFileSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { processIdentity } from '../../base/process-identity.ts';
import type { ContainmentUsage } from '../contract.ts';
import type { Controller } from './facts.ts';
import type { CgroupPlan } from './plan.ts';
import { groupName, FAMILY } from './names.ts';
import { readCurrent, readUsage, type CurrentUsage } from './usage.ts';

/** The control group of one sandbox: one directory in version 2, one for each controller in version 1. */
export interface Cgroup {
  /** Lists of the processes inside, one for each group. */
  readonly procsPaths: readonly string[];
  /** Files into which a process with one thread writes `0` to enter; what it starts afterwards is inside. */
  readonly joinPaths: readonly string[];
  /** What the kernel counted. Call before `remove`; later calls answer what was seen then. */
  usage(): ContainmentUsage;
  /** What it uses at this moment. */
  current(): CurrentUsage;
  /** Its directories. */
  readonly dirs: readonly string[];
  /**
   * Stops everything inside, or lets it go on; false where that is not to be had. Version 1 is left out: what its freezer holds
   * does not die of SIGKILL (freezer-subsystem.rst), so that a sandbox would outlive an owner that was killed.
   */
  freeze(frozen: boolean): boolean;
  /** SIGKILL to everything inside; nothing can be started there afterwards. */
  kill(): void;
  /** Waits until everything inside is gone, and removes the group. @throws E_SANDBOX_LOST when it stays busy. */
  remove(): Promise<void>;
}

/** How long a killed process may take to disappear; one that sits in the kernel (state D) can take long. */
const REMOVE_MS = 5000;
const LONGEST_PAUSE_MS = 50;
const MAKE_ATTEMPTS = 20;

/**
 * Makes the group and sets its limits. Its name carries its owner's identity, so that a later start knows when it is a leftover.
 *
 * @throws E_LIMIT_UNAVAILABLE when the kernel refuses a limit
 */
export function createCgroup(id: string, plan: CgroupPlan): Cgroup {
  const owner = processIdentity(process.pid);
  const name = groupName(id, owner ?? { pid: process.pid, startTicks: '0' });
  const dirs = new Map<Controller, string>();
  const made: string[] = [];
  try {
    for (const [controller, parent] of entries(plan.parents)) {
      const dir = path.join(parent, FAMILY, name);
      dirs.set(controller, dir);
      if (made.includes(dir)) continue;
      makeGroup(parent, dir, plan);
      made.push(dir);
    }
    for (const write of plan.writes) setLimit(dirs.get(write.controller), write);
  } catch (error) {
    for (const dir of made) removeQuietly(dir);
    throw unavailable(error);
  }
  return new Group(plan, dirs, made);
}

function entries(parents: CgroupPlan['parents']): [Controller, string][] {
  const order: readonly Controller[] = ['memory', 'pids', 'cpu', 'cpuacct'];
  return order.flatMap((controller): [Controller, string][] => {
    const parent = parents[controller];
    return parent === undefined ? [] : [[controller, parent]];
  });
}

/** Tries again where another process removed the empty family between its making and its filling. */
function makeGroup(parent: string, dir: string, plan: CgroupPlan): void {
  for (let left = MAKE_ATTEMPTS; ; left--) {
    try {
      makeOnce(parent, dir, plan);
      return;
    } catch (error) {
      if (left <= 1 || systemCode(error) !== 'ENOENT') throw error;
    }
  }
}

function makeOnce(parent: string, dir: string, plan: CgroupPlan): void {
  const family = path.dirname(dir);
  mkdirSync(family, { recursive: true });
  if (plan.version === 2) {
    const wanted = entries(plan.parents).map(([controller]) => controller);
    for (const level of [parent, family]) enable(level, wanted);
  }
  mkdirSync(dir);
}

/** Hands controllers to the children of a group; those that are handed on already stay. */
function enable(dir: string, wanted: readonly Controller[]): void {
  const file = path.join(dir, 'cgroup.subtree_control');
  const enabled = readText(file).trim().split(' ');
  const missing = wanted.filter((controller) => !enabled.includes(controller));
  if (missing.length > 0) writeFileSync(file, missing.map((controller) => `+${controller}`).join(' '));
}

function setLimit(dir: string | undefined, write: CgroupPlan['writes'][number]): void {
  if (dir === undefined) return;
  const file = path.join(dir, write.file);
  if (write.optional && !existsSync(file)) return;
  try {
    writeFileSync(file, write.value);
  } catch (error) {
    // EINVAL is the answer to a value that an outer group forbids.
    if (!write.optional || systemCode(error) !== 'EINVAL') throw error;
  }
}

class Group implements Cgroup {
  readonly procsPaths: readonly string[];
  readonly joinPaths: readonly string[];
  readonly dirs: readonly string[];
  readonly #version: 1 | 2;
  readonly #dirs: ReadonlyMap<Controller, string>;
  readonly #all: readonly string[];
  #last: ContainmentUsage = { hit: [] };
  #killed = false;
  #removed = false;

  constructor(plan: CgroupPlan, dirs: ReadonlyMap<Controller, string>, all: readonly string[]) {
    this.#version = plan.version;
    this.#dirs = dirs;
    this.#all = all;
    this.dirs = all;
    this.procsPaths = all.map((dir) => path.join(dir, 'cgroup.procs'));
    // Moving one thread does not wait for the whole machine, as moving a process does: see agent/src/join.c.
    this.joinPaths = plan.version === 1 ? all.map((dir) => path.join(dir, 'tasks')) : this.procsPaths;
  }

  usage(): ContainmentUsage {
    if (this.#removed) return this.#last;
    const seen = readUsage(this.#version, this.#dirs);
    // A fork that fails while we kill is our doing, not a limit that the sandbox met.
    this.#last = this.#killed ? { ...seen, hit: this.#last.hit } : seen;
    return this.#last;
  }

  current(): CurrentUsage {
    return this.#removed ? {} : readCurrent(this.#version, this.#dirs);
  }

  freeze(frozen: boolean): boolean {
    const [dir] = this.#all;
    if (this.#removed || dir === undefined || this.#version === 1) return false;
    writeFileSync(path.join(dir, 'cgroup.freeze'), frozen ? '1' : '0');
    return true;
  }

  kill(): void {
    if (this.#removed) return;
    this.usage();
    this.#killed = true;
    const [dir] = this.#all;
    if (this.#version === 2 && dir !== undefined && existsSync(path.join(dir, 'cgroup.kill'))) {
      writeQuietly(path.join(dir, 'cgroup.kill'), '1');
      return;
    }
    // Without new processes, one pass reaches all.
    const pids = this.#dirs.get('pids');
    if (pids !== undefined) writeQuietly(path.join(pids, 'pids.max'), '0');
    for (const file of this.procsPaths) {
      for (const line of readText(file).split('\n')) if (line !== '') signal(Number(line));
    }
  }

  async remove(): Promise<void> {
    if (this.#removed) return;
    this.kill();
    const deadline = Date.now() + REMOVE_MS;
    for (const dir of this.#all) {
      for (let pause = 1; !removeQuietly(dir); pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
        if (Date.now() > deadline) throw stays(dir);
        await emptied(dir, pause);
        this.kill();
      }
    }
    this.#removed = true;
  }
}

/** Resolves when the kernel says that the group may be empty, at the latest after `pauseMs`. Version 1 says nothing. */
async function emptied(dir: string, pauseMs: number): Promise<void> {
  const events = path.join(dir, 'cgroup.events');
  await new Promise<void>((resolve) => {
    const watcher = existsSync(events) ? watch(events, () => done()) : undefined;
    watcher?.on('error', () => undefined);
    const timer = setTimeout(() => done(), pauseMs);
    const done = (): void => {
      clearTimeout(timer);
      watcher?.close();
      resolve();
    };
  });
}

/** Removes a group, and the family when it was the last; false while something is inside. */
export function removeQuietly(dir: string): boolean {
  if (!removed(dir)) return false;
  removed(path.dirname(dir));
  return true;
}

function removed(dir: string): boolean {
  try {
    rmdirSync(dir);
    return true;
  } catch (error) {
    return systemCode(error) === 'ENOENT';
  }
}

function writeQuietly(file: string, value: string): void {
  try {
    writeFileSync(file, value);
  } catch {
    // The group is gone, or lacks this file: what it was for is seen when the group is removed.
  }
}

/** Never 0 or a negative number: kill(2) would take these for groups of processes. A pid of another namespace reads as 0. */
function signal(pid: number): void {
  if (!Number.isSafeInteger(pid) || pid <= 1 || pid === process.pid) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone.
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function unavailable(error: unknown): GloveboxError {
  return new GloveboxError('E_LIMIT_UNAVAILABLE', {
    what: 'cannot set up the limits of the sandbox',
    why: error instanceof Error ? error.message : String(error),
    cause: error,
  });
}

function stays(dir: string): GloveboxError {
  return new GloveboxError('E_SANDBOX_LOST', {
    what: `processes stay in ${dir}`,
    why: 'they were killed and sit in the kernel (state D in ps)',
    next: 'The next start removes the group once they are gone.',
  });
}
