import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Controllers that limits use; cpuacct only counts (part of cpu in version 2). */
export type Controller = 'memory' | 'pids' | 'cpu' | 'cpuacct';

const CONTROLLERS: readonly Controller[] = ['memory', 'pids', 'cpu', 'cpuacct'];

/** What this process may do with control groups. Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst. */
export interface CgroupFacts {
  /** 0: none usable. */
  readonly version: 0 | 1 | 2;
  /** Directory below which groups can be made, for each usable controller. In version 2 it is the same for all. */
  readonly parents: Readonly<Partial<Record<Controller, string>>>;
  /** One line for `doctor`. */
  readonly detail: string;
  /** How to get what is missing. */
  readonly fix?: string;
}

/** Looks at the mounted hierarchies; nothing is created. */
export function detectCgroups(root = '/sys/fs/cgroup', procSelf = '/proc/self/cgroup'): CgroupFacts {
  const own = ownPaths(readText(procSelf));
  if (existsSync(path.join(root, 'cgroup.controllers'))) return detectVersion2(root, own.get('') ?? '/');
  return detectVersion1(root, own);
}

/** Lines `id:controllers:path`; version 2 has no controllers. */
function ownPaths(text: string): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    for (const controller of (match?.[1] ?? '').split(',')) {
      if (match?.[2] !== undefined) paths.set(controller, match[2]);
    }
  }
  return paths;
}

const ROOT_FIX =
  'Run as a user with a delegated cgroup (systemd: `systemd-run --user --scope glovebox …`), or as root.';

function detectVersion1(root: string, own: ReadonlyMap<string, string>): CgroupFacts {
  const parents: Partial<Record<Controller, string>> = {};
  for (const controller of CONTROLLERS) {
    const mount = path.join(root, controller);
    const inside = path.join(mount, own.get(controller) ?? '/');
    // In a container the own path is often that of the host, and not visible.
    const parent = existsSync(inside) ? inside : mount;
    if (existsSync(path.join(parent, 'cgroup.procs')) && writable(parent)) parents[controller] = parent;
  }
  const names = Object.keys(parents);
  if (names.length === 0) {
    return { version: 0, parents, detail: 'no writable cgroup', fix: ROOT_FIX };
  }
  return { version: 1, parents, detail: `cgroup v1: ${names.join(', ')}` };
}

/**
 * The nearest group above the own one that this process may fill. Not the own one: a group with processes cannot hand
 * controllers to children ("no internal processes"), except the root.
 */
function detectVersion2(root: string, own: string): CgroupFacts {
  for (const candidate of candidates(root, own)) {
    const available = readText(path.join(candidate, 'cgroup.controllers')).trim().split(' ');
    const enabled = readText(path.join(candidate, 'cgroup.subtree_control')).trim().split(' ');
    // Moving a process needs write access to cgroup.procs of the common ancestor.
    const mayMove = writable(candidate) && writable(path.join(candidate, 'cgroup.procs'));
    if (!mayMove) continue;
    const mayEnable = writable(path.join(candidate, 'cgroup.subtree_control'));
    const usable = (mayEnable ? available : enabled).filter((name) => isController(name));
    if (!usable.includes('memory') && !usable.includes('pids')) continue;
    const parents = Object.fromEntries(usable.map((name) => [name, candidate]));
    return { version: 2, parents, detail: `cgroup v2 at ${candidate}: ${usable.join(', ')}` };
  }
  return { version: 0, parents: {}, detail: `cgroup v2: no group above ${own} is writable`, fix: ROOT_FIX };
}

function candidates(root: string, own: string): string[] {
  const found: string[] = [];
  // A path that begins with `..` lies outside the namespace's root (cgroup_namespaces(7)).
  let relative = own.startsWith('/..') ? '/' : path.posix.normalize(own);
  // The real root has no cgroup.type; the root of a cgroup namespace has one, and is bound by the rule.
  if (relative === '/') return existsSync(path.join(root, 'cgroup.type')) ? [] : [root];
  while (relative !== '/') {
    relative = path.posix.dirname(relative);
    found.push(path.join(root, relative));
  }
  return found;
}

function isController(name: string): name is Controller {
  return CONTROLLERS.some((controller) => controller === name);
}

function writable(file: string): boolean {
  try {
    accessSync(file, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
