import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, describe, expect } from 'vitest';
import { Sandbox } from '../../src/index.ts';
import { withPodman, type PodmanBox } from '../support/podman-box.ts';
import { startPodman } from '../support/podman-engine.ts';

const podman = startPodman();
afterAll(() => {
  if ('stop' in podman) podman.stop();
});

async function untilNone(box: PodmanBox): Promise<void> {
  for (let tries = 0; tries < 100 && box.containers().length > 0; tries++) await delay(100);
  expect(box.containers()).toEqual([]);
}

describe('glovebox run --driver podman', () => {
  withPodman(podman, 'passes input, output, errors and the exit code, and says who built it', async (box) => {
    const result = await box.sh('cat; echo err >&2; exit 7', { input: 'in' });
    expect(result).toMatchObject({ code: 7, stdout: 'in' });
    expect(result.stderr).toContain('err');
    expect(box.recorded('run.start')[0]).toMatchObject({ tier: 'container', driver: 'podman' });
    expect(box.recorded('run.end')[0]).toMatchObject({ cause: 'exit', status: 7, left: [] });
    expect(box.containers()).toEqual([]);
  });

  withPodman(podman, 'loses nothing of a long output', async (box) => {
    const result = await box.sh('seq 1 300000');
    expect(result.code).toBe(0);
    expect(result.stdout.length).toBe(1_988_895);
  });

  withPodman(podman, 'writes the workspace as the caller, and leaves no placeholder in it', async (box) => {
    await box.sh('id -u; echo made > file; mkdir dir; cp /etc/passwd dir/');
    expect(box.read('file')).toBe('made\n');
    expect(box.listing()).toEqual(['dir', 'file']);
  });

  withPodman(podman, 'ends when its owner is killed, and what that left is swept', async (box) => {
    const running = box.start(['bash', '-c', 'echo up; sleep 1000']);
    await running.said('up');
    expect(box.containers()).toHaveLength(1);
    running.child.kill('SIGKILL');
    await running.ended;
    await untilNone(box);
    expect((await box.run(['true'])).code).toBe(0);
    expect(readdirSync(path.join(box.base, 'run/glovebox/engine'))).toEqual([]);
    expect(box.listing()).toEqual([]);
  });
});

describe('Sandbox', () => {
  withPodman(podman, 'serves commands and files; the list and its receipt name what it is', async (box) => {
    const unbounded = { memory: 'unlimited', pids: 'unlimited', cpu: 'unlimited' };
    const sandbox = await Sandbox.create({
      tier: 'container',
      driver: 'podman',
      workspace: box.workspace,
      hostEnv: box.env(),
      ...(box.engine.limits ? {} : { limits: unbounded }),
    });
    const { sandboxId } = await sandbox.getInfo();
    expect((await sandbox.commands.run('echo hi; id -u')).stdout).toBe('hi\n1000\n');
    await sandbox.files.write('note', 'text');
    expect(box.read('note')).toBe('text');
    const listed = await box.cli(['list', '--json']);
    expect(JSON.parse(listed.stdout)).toMatchObject({
      sandboxes: [{ sandboxId, tier: 'container', driver: 'podman' }],
    });
    const name = `glovebox-${sandboxId}`;
    const { receipt } = await sandbox.kill();
    expect(receipt.items).toContainEqual({ kind: 'container', name, gone: true });
    expect(receipt.complete).toBe(true);
    expect(box.containers()).toEqual([]);
  });
});

describe('doctor', () => {
  withPodman(podman, 'tells of Podman, and of one that was asked for and is not there', async (box) => {
    const { findings } = JSON.parse((await box.cli(['doctor', '--json'])).stdout) as {
      findings: { name: string; state: string; detail: string }[];
    };
    const found = findings.find((finding) => finding.name === 'podman');
    expect(found).toMatchObject({
      state: box.engine.limits ? 'ok' : 'warn',
      detail: expect.stringContaining('seccomp'),
    });
    mkdirSync(path.join(box.base, 'empty'));
    box.policy('version: 1\ntier: container\ndriver: podman\n');
    const gone = await box.cli(['doctor'], { env: { GLOVEBOX_PODMAN: `${box.base}/empty/podman` } });
    expect(gone.code).toBe(125);
    expect(gone.stdout).toMatch(/FAIL {2}podman .*\n {6}fix: Name the client, or unset GLOVEBOX_PODMAN/);
  });
});
