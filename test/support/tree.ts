import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { until } from './attack.ts';
import type { TestBox } from './box.ts';

/** Makes `dirs` directories of `each` empty files below `root`; names are `d0/f0.txt`, … */
export function bigTree(root: string, dirs: number, each: number, suffix = '.txt'): void {
  for (let d = 0; d < dirs; d++) {
    const dir = path.join(root, `d${d}`);
    mkdirSync(dir, { recursive: true });
    for (let f = 0; f < each; f++) closeSync(openSync(path.join(dir, `f${f}${suffix}`), 'w'));
  }
}

/** A file whose name is bytes, not text. */
export function writeNamed(dir: string, name: Uint8Array, content: string): Buffer {
  const file = Buffer.concat([Buffer.from(`${dir}/`), name]);
  writeFileSync(file, content);
  return file;
}

/** Every name below a directory with its type, dot files included. */
export function snapshot(root: string): readonly string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .map((entry) => `${path.join(entry.parentPath, entry.name)}${entry.isDirectory() ? '/' : ''}`)
    .sort();
}

function procFile(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    return '';
  }
}

function procLink(pid: string, name: string): string {
  try {
    return readlinkSync(`/proc/${pid}/${name}`);
  } catch {
    return '';
  }
}

/**
 * Processes of this machine that belong to a box: its path stands in their arguments, environment, working directory or
 * mounts. The mounts find every process of a jail, whatever it did to its arguments.
 */
export function processesOf(box: TestBox): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && name !== String(process.pid))
    .filter(
      (pid) =>
        ['cmdline', 'environ', 'mountinfo'].some((name) => procFile(pid, name).includes(box.base)) ||
        procLink(pid, 'cwd').startsWith(box.base),
    )
    .map((pid) => `${pid} ${procFile(pid, 'cmdline').replaceAll('\0', ' ').slice(0, 120)}`);
}

/** Control groups of a sandbox, found by its id. */
export function cgroupsOf(ids: readonly string[]): readonly string[] {
  return controlGroups().filter((dir) => ids.some((id) => dir.includes(id)));
}

function controlGroups(): readonly string[] {
  const found: string[] = [];
  const visit = (dir: string, depth: number): void => {
    for (const entry of listing(dir)) {
      found.push(entry);
      if (depth > 0) visit(entry, depth - 1);
    }
  };
  visit('/sys/fs/cgroup', 5);
  return found;
}

function listing(dir: string): readonly string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => path.join(dir, entry.name));
  } catch {
    return [];
  }
}

/** Ids of every sandbox that the box's audit log names. */
export function sandboxIds(box: TestBox): readonly string[] {
  return [
    ...new Set(box.records().flatMap((record) => (record.sandbox === undefined ? [] : [record.sandbox]))),
  ];
}

/** No process and no mount of the box is left on the machine, within a bounded time. */
export async function expectNothingLeft(box: TestBox, timeoutMs = 2000): Promise<void> {
  await until(() => processesOf(box).length === 0, 'every process of the box to end', timeoutMs).catch(
    () => undefined,
  );
  expect(processesOf(box)).toEqual([]);
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(box.base);
}

/** Processes of a control group, one a line; none where it is gone. */
export function membersOf(group: string): string {
  try {
    return readFileSync(path.join(group, 'cgroup.procs'), 'latin1');
  } catch {
    // Another start has swept it.
    return '';
  }
}
