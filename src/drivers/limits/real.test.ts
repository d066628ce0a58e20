import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { PlanLimits } from '../contract.ts';
import { createCgroup, type Cgroup } from './cgroup.ts';
import { detectCgroups } from './facts.ts';
import { planLimits } from './plan.ts';
import { readHardLimits } from './rlimits.ts';
import { sweepCgroups } from './sweep.ts';

const facts = detectCgroups();
const { memory, pids, cpu } = facts.parents;
const missing = memory === undefined || pids === undefined || cpu === undefined ? facts.detail : '';

describe.skipIf(missing !== '')(
  `with the kernel’s control groups (${missing === '' ? facts.detail : `missing: ${missing}`})`,
  () => {
    let count = 0;
    const create = (limits: Partial<PlanLimits>): Cgroup => {
      const all: PlanLimits = { require: [], explicit: [], ...limits };
      const plan = planLimits({
        limits: all,
        facts,
        watchable: true,
        euid: process.geteuid?.() ?? 0,
        hard: readHardLimits(),
      });
      if (plan.cgroup === undefined) throw new Error('no plan');
      return createCgroup(`sbx_test${process.pid}_${count++}`, plan.cgroup);
    };
    /** A shell that enters the group as the airlock does, then runs the script. */
    const start = (cgroup: Cgroup, script: string): ChildProcess => {
      const enter = cgroup.procsPaths.map((file) => `echo 0 > '${file}'`).join('; ');
      return spawn('sh', ['-c', `${enter}; ${script}`], { stdio: ['ignore', 'pipe', 'ignore'] });
    };
    const ended = (
      child: ChildProcess,
    ): Promise<{ code: number | null; signal: string | null; out: string }> =>
      new Promise((resolve) => {
        let out = '';
        child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
        child.on('close', (code, signal) => resolve({ code, signal, out }));
      });
    const dirs = (cgroup: Cgroup): string[] => cgroup.procsPaths.map((file) => path.dirname(file));

    test('memory: the process is killed and the limit named', async () => {
      const cgroup = create({ memoryBytes: 64 * 1024 * 1024 });
      const result = await ended(
        start(cgroup, `exec ${process.execPath} -e 'Buffer.alloc(512*1024*1024, 1)'`),
      );
      expect(result.signal).toBe('SIGKILL');
      const usage = cgroup.usage();
      expect(usage.hit).toEqual(['memory']);
      expect(usage.peakMemoryBytes).toBeLessThanOrEqual(64 * 1024 * 1024);
      await cgroup.remove();
      expect(dirs(cgroup).some((dir) => existsSync(dir))).toBe(false);
      expect(cgroup.usage(), 'known after the removal').toEqual(usage);
    });

    test('processes: a fork bomb stops at the limit', async () => {
      const cgroup = create({ pids: 20 });
      const result = await ended(
        start(cgroup, 'for i in $(seq 100); do sleep 20 >/dev/null & done; echo never'),
      );
      expect(result.out).toBe('');
      expect(cgroup.usage().hit).toEqual(['pids']);
      await cgroup.remove();
      expect(dirs(cgroup).some((dir) => existsSync(dir))).toBe(false);
    });

    test('a fork storm is killed to the last process', async () => {
      const cgroup = create({ pids: 60 });
      const child = start(cgroup, 'f() { f | f & }; while true; do f; sleep 0.01; done');
      const end = ended(child);
      await new Promise((resolve) => setTimeout(resolve, 300));
      cgroup.kill();
      await cgroup.remove();
      await end;
      expect(dirs(cgroup).some((dir) => existsSync(dir))).toBe(false);
    });

    test('forks that fail while everything is killed do not count as a hit', async () => {
      const cgroup = create({ pids: 500 });
      const end = ended(start(cgroup, 'while true; do true & sleep 0.001; done'));
      await new Promise((resolve) => setTimeout(resolve, 100));
      cgroup.kill();
      await cgroup.remove();
      await end;
      expect(cgroup.usage().hit).toEqual([]);
    });

    test('cpu: half a CPU takes twice the time', async () => {
      const cgroup = create({ cpu: 0.5 });
      const script =
        'const a=process.hrtime.bigint(); while (process.cpuUsage().user < 400000); console.log(Number(process.hrtime.bigint()-a)/1e6)';
      const { out } = await ended(start(cgroup, `exec ${process.execPath} -e '${script}'`));
      expect(Number(out)).toBeGreaterThan(550);
      expect(cgroup.usage().cpuMs).toBeGreaterThan(300);
      expect(cgroup.usage().hit).toEqual([]);
      await cgroup.remove();
    });

    test('removal is idempotent, and a busy group is not removed by a sweep', async () => {
      const cgroup = create({ pids: 10 });
      const child = start(cgroup, 'exec sleep 60');
      const end = ended(child);
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(sweepCgroups(facts).filter((dir) => dirs(cgroup).includes(dir))).toEqual([]);
      await cgroup.remove();
      await cgroup.remove();
      expect((await end).signal).toBe('SIGKILL');
    });

    test('a sweep removes what a dead process left, and nothing of a live one', async () => {
      const cgroup = create({ pids: 10 });
      const [own = ''] = dirs(cgroup);
      const dead = spawnSync('true').pid;
      const left = path.join(path.dirname(own), `sbx_dead.${dead}.1`);
      const reused = path.join(path.dirname(own), `sbx_reused.${process.pid}.1`);
      const foreign = path.join(path.dirname(own), 'not-ours');
      for (const dir of [left, reused, foreign]) mkdirSync(dir);
      const removed = sweepCgroups(facts);
      expect(removed).toEqual(expect.arrayContaining([left, reused]));
      expect(readdirSync(path.dirname(own))).toEqual(
        expect.arrayContaining(['not-ours', path.basename(own)]),
      );
      spawnSync('rmdir', [foreign]);
      await cgroup.remove();
    });
  },
);
