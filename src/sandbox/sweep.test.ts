import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootMoment } from '../base/boot-clock.ts';
import type { GloveboxDirs } from '../base/paths.ts';
import { processIdentity } from '../base/process-identity.ts';
import { RunRegistry } from './registry.ts';
import { makeTemporary, OverdueSweep, removeTemporary, sweepOverdue, sweepTemporaries } from './sweep.ts';

let base = '';
let dirs: GloveboxDirs;
const children: ChildProcess[] = [];

beforeEach(() => {
  base = mkdtempSync(path.join(tmpdir(), 'glovebox-sweep-'));
  const dir = (name: string): string => path.join(base, name);
  dirs = { config: dir('config'), state: dir('state'), cache: dir('cache'), runtime: dir('run') };
  mkdirSync(dirs.state, { mode: 0o700 });
  mkdirSync(dirs.cache, { mode: 0o700 });
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(base, { recursive: true, force: true });
});

/** A registered sandbox of this process whose jail is a real process, with its end so many ms from now. */
function overdue(registry: RunRegistry, id: string, endMs: number | undefined): ChildProcess {
  const child = spawn('sleep', ['300'], { stdio: 'ignore' });
  children.push(child);
  const jail = processIdentity(child.pid ?? 0);
  if (jail === undefined) throw new Error('the process did not start');
  registry.add(id, []);
  const common = { metadata: {}, tier: 'process', workspace: '/w', startedAt: Date.now(), jail };
  registry.serve(id, { ...common, ...(endMs === undefined ? {} : { deadline: bootMoment(endMs) }) });
  return child;
}

describe('a sandbox past its end', () => {
  it('is ended once its owner is clearly too late, and no other', async () => {
    const registry = new RunRegistry(dirs.state);
    const late = overdue(registry, 'late', -8000);
    const others = [
      overdue(registry, 'ending', -2000),
      overdue(registry, 'running', 60_000),
      overdue(registry, 'endless', undefined),
    ];
    expect(sweepOverdue(registry)).toEqual(['late']);
    await once(late, 'exit');
    expect(late.signalCode).toBe('SIGKILL');
    for (const other of others) expect(processIdentity(other.pid ?? 0)).toBeDefined();
  });

  it('is not confused with a later process of the same number', () => {
    const registry = new RunRegistry(dirs.state);
    const child = overdue(registry, 'late', -8000);
    const jail = { pid: child.pid ?? 0, startTicks: '1' };
    const common = { metadata: {}, tier: 'process', workspace: '/w', startedAt: Date.now(), jail };
    registry.serve('late', { ...common, deadline: bootMoment(-8000) });
    expect(sweepOverdue(registry)).toEqual([]);
    expect(processIdentity(child.pid ?? 0)).toBeDefined();
  });
});

describe('a look for sandboxes past their end', () => {
  it('is taken at once and again after five seconds; another state directory has its own', async () => {
    const registry = new RunRegistry(dirs.state);
    let now = 0;
    const sweep = new OverdueSweep(() => now);
    const elsewhere = { state: `${dirs.state}/other` };
    overdue(registry, 'late', -8000);
    expect(sweep.run(dirs, registry)).toEqual(['late']);
    overdue(registry, 'later', -8000);
    now = 4999;
    expect(sweep.run(dirs, registry)).toEqual([]);
    now = 5000;
    expect(sweep.run(dirs, registry)).toContain('later');
    overdue(registry, 'other', -8000);
    expect(sweep.run(elsewhere, registry)).toContain('other');
  });
});

describe('temporary workspaces', () => {
  it('of dead processes are removed, and those of living ones are not', async () => {
    const mine = makeTemporary(dirs);
    const root = path.dirname(mine);
    const dead = path.join(root, 'ws-1-0-abcdef');
    mkdirSync(path.join(dead, 'deep'), { recursive: true });
    const unknown = path.join(root, 'something');
    mkdirSync(unknown);
    await sweepTemporaries(dirs);
    expect([mine, dead, unknown].map((dir) => existsSync(dir))).toEqual([true, false, true]);
    await removeTemporary(mine, dirs);
    expect(existsSync(mine)).toBe(false);
  });

  it('are removed also with directories that were shut, and links in them are not followed', async () => {
    const mine = makeTemporary(dirs);
    const victim = path.join(base, 'victim');
    mkdirSync(victim);
    writeFileSync(path.join(victim, 'file'), 'precious');
    mkdirSync(path.join(mine, 'a/b'), { recursive: true });
    symlinkSync(victim, path.join(mine, 'a/link'));
    chmodSync(path.join(mine, 'a/b'), 0);
    chmodSync(path.join(mine, 'a'), 0);
    await removeTemporary(mine, dirs);
    expect(existsSync(mine)).toBe(false);
    expect(existsSync(path.join(victim, 'file'))).toBe(true);
  });

  it('elsewhere are none', async () => {
    const victim = path.join(base, 'victim');
    mkdirSync(victim);
    await removeTemporary(victim, dirs);
    await removeTemporary(path.join(dirs.cache, 'workspaces/../../victim'), dirs);
    expect(existsSync(victim)).toBe(true);
  });
});
