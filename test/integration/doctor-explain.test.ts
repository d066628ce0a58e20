import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { needsProgram } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { hostProgram, isRoot } from '../support/users.ts';

interface Finding {
  readonly name: string;
  readonly state: string;
  readonly detail: string;
  readonly fix?: string;
}

interface Report {
  readonly usable: boolean;
  readonly findings: readonly Finding[];
}

const report = (text: string): Report => JSON.parse(text) as Report;

describe('doctor', () => {
  it('finds this machine usable, for people and for machines', async () => {
    using box = new TestBox();
    const text = await box.cli(['doctor']);
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toContain('Sandboxes start on this machine.');
    const json = await box.cli(['doctor', '--json']);
    expect(json).toMatchObject({ code: 0, stderr: '' });
    const { usable, findings } = report(json.stdout);
    expect(usable).toBe(true);
    expect(findings.filter((finding) => finding.state === 'fail')).toEqual([]);
    const names = findings.map((finding) => finding.name);
    for (const name of ['node', 'kernel', 'bubblewrap', 'agent', 'user namespaces', 'seccomp', 'trial run'])
      expect(names).toContain(name);
    expect(box.listing()).toEqual([]);
  });

  it.each([
    ['bubblewrap', { GLOVEBOX_BWRAP: '/no/such/bwrap' }, 'bubblewrap', 'apt-get install bubblewrap'],
    ['a bubblewrap that is too old', { GLOVEBOX_BWRAP: 'old' }, 'bubblewrap', 'apt-get install bubblewrap'],
    ['the agent', { GLOVEBOX_AGENT: '/no/such/agent' }, 'agent', 'npm run build'],
    ['an agent that works', { GLOVEBOX_AGENT: '/bin/false' }, 'agent', 'npm run build'],
  ])('names the fix for a missing piece: %s', async (_what, env, name, fix) => {
    using box = new TestBox();
    const old = path.join(box.base, 'bwrap');
    writeFileSync(old, '#!/bin/sh\necho bubblewrap 0.4.1\n', { mode: 0o755 });
    const real = Object.fromEntries(
      Object.entries(env).map(([key, value]) => [key, value === 'old' ? old : value]),
    );
    const result = await box.cli(['doctor', '--json'], { env: real });
    expect(result.code).toBe(125);
    const { usable, findings } = report(result.stdout);
    expect(usable).toBe(false);
    expect(findings).toContainEqual(
      expect.objectContaining({ name, state: 'fail', fix: expect.stringContaining(fix) as unknown }),
    );
    const text = await box.cli(['doctor'], { env: real });
    expect(text.code).toBe(125);
    expect(text.stdout).toContain(`fix: `);
    expect(text.stdout).toContain(fix);
  });

  it.skipIf(isRoot)('names a state directory that cannot be written (as an ordinary user)', async () => {
    using box = new TestBox();
    const shut = path.join(box.base, 'shut');
    mkdirSync(shut);
    chmodSync(shut, 0o500);
    const result = await box.cli(['doctor', '--json'], { env: { XDG_STATE_HOME: shut } });
    expect(result.code).toBe(125);
    expect(report(result.stdout).findings).toContainEqual(
      expect.objectContaining({ name: 'state directory', state: 'fail' }),
    );
  });

  it('names what the vm tier lacks, without which sandboxes still start', async () => {
    using box = new TestBox();
    const env = {
      GLOVEBOX_KERNEL: '/no/kernel',
      GLOVEBOX_MKFS_EROFS: '/no/mkfs',
      GLOVEBOX_QEMU: '/no/qemu',
      GLOVEBOX_FIRECRACKER: '/no',
      GLOVEBOX_VM_ACCEL: '',
    };
    const result = await box.cli(['doctor', '--json'], { env: { ...env, GLOVEBOX_VIRTIOFSD: '/no/server' } });
    expect(result.code).toBe(0);
    const { findings } = report(result.stdout);
    for (const name of ['vm: kernel', 'vm: root image', 'vm: QEMU', 'vm: virtiofsd'])
      expect(findings).toContainEqual(
        expect.objectContaining({ name, state: 'warn', fix: expect.stringContaining('setup.sh') as unknown }),
      );
    // No machine is booted to find out.
    expect(findings).toContainEqual(
      expect.objectContaining({
        name: 'vm: accelerator',
        state: 'ok',
        detail: expect.stringMatching(
          /^not tried yet|^emulated, slower: (there is no )?\/dev\/kvm/,
        ) as unknown,
      }),
    );
    expect(findings).toContainEqual(
      expect.objectContaining({
        name: 'vm: Firecracker',
        state: 'ok',
        detail: expect.stringContaining('not used (unverified)') as unknown,
      }),
    );
  });

  it('refuses words it does not know', async () => {
    using box = new TestBox();
    expect(await box.cli(['doctor', '--fix-it'])).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('E_USAGE'),
    });
  });
});

describe('explain', () => {
  it('prints what a command would see, reach and spend', async () => {
    using box = new TestBox();
    const args = [
      'explain',
      '--deny',
      'secret.pem',
      '--allow',
      'api.example.com',
      '--timeout',
      '90s',
      '--env',
      'A=b',
    ];
    const result = await box.cli(args);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    for (const line of [
      `workspace  ${box.workspace}`,
      `${box.workspace}/secret.pem`,
      'api.example.com:443',
      'timeoutMs 90000',
      'A=b',
      '.envrc',
    ]) {
      expect(result.stdout).toContain(line);
    }
    expect(box.listing()).toEqual([]);
  });

  it('has the same hashes twice, and others for another policy', async () => {
    using box = new TestBox();
    const [first, second, other] = await Promise.all(
      [
        ['--pids', '64'],
        ['--pids', '64'],
        ['--pids', '65'],
      ].map((flags) => box.cli(['explain', '--json', ...flags])),
    );
    expect(first?.code).toBe(0);
    const facts = JSON.parse(first?.stdout ?? '') as {
      policyHash: string;
      planHash: string;
      plan: { version: number };
    };
    expect(facts.planHash).toMatch(/^[0-9a-f]{64}$/);
    expect(facts.plan.version).toBe(1);
    expect(second?.stdout).toBe(first?.stdout);
    expect((JSON.parse(other?.stdout ?? '') as { planHash: string }).planHash).not.toBe(facts.planHash);
  });

  it('shows the plan that the audit log then names', async () => {
    using box = new TestBox();
    const { planHash } = JSON.parse((await box.cli(['explain', '--json'])).stdout) as { planHash: string };
    await box.run(['true']);
    expect(box.records().find((record) => record.kind === 'run.start')?.data['plan']).toBe(planHash);
  });
});

describe('help, version, completion', () => {
  it('help names every verb, and each verb has its own', async () => {
    using box = new TestBox();
    const help = await box.cli(['help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    for (const verb of ['run', 'shell', 'explain', 'policy', 'audit', 'doctor', 'completion', 'version']) {
      expect(help.stdout).toContain(`  ${verb}`);
      const own = await box.cli(['help', verb]);
      expect(own).toMatchObject({ code: 0, stderr: '' });
      expect(own.stdout).toContain(`glovebox ${verb}`);
      expect((await box.cli([verb, '--help'])).stdout).toBe(own.stdout);
    }
    expect((await box.cli(['help', 'rnu'])).code).toBe(125);
  });

  it('version is the one of the package', async () => {
    using box = new TestBox();
    const json = JSON.parse((await box.cli(['version', '--json'])).stdout) as { version: string };
    expect((await box.cli(['--version'])).stdout).toBe(`glovebox ${json.version}\n`);
  });

  it.each(['bash', 'zsh', 'fish'])(
    'the completion script for %s parses (where that shell is)',
    async (shell) => {
      using box = new TestBox();
      const script = await box.cli(['completion', shell]);
      expect(script).toMatchObject({ code: 0, stderr: '' });
      expect(script.stdout).toContain('--timeout'.slice(2));
      const file = box.write(`complete.${shell}`, script.stdout);
      if (needsProgram(shell) !== undefined) return;
      expect(await hostProgram(box, [shell, '-n', file])).toMatchObject({ code: 0, stderr: '' });
    },
  );

  it('bash completes verbs and options', async () => {
    using box = new TestBox();
    const file = box.write('complete.bash', (await box.cli(['completion', 'bash'])).stdout);
    const complete = (words: string): string =>
      `COMP_WORDS=(glovebox ${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _glovebox; echo "\${COMPREPLY[*]}"`;
    const result = await hostProgram(box, [
      'bash',
      '-c',
      `source ${file}; ${complete('ru')}; ${complete('run --time')}; ${complete('policy tr')}`,
    ]);
    expect(result.stdout).toBe('run\n--timeout\ntrust\n');
  });

  it('an unknown shell is refused by name', async () => {
    using box = new TestBox();
    const result = await box.cli(['completion', 'bsh']);
    expect(result.code).toBe(125);
    expect(result.stderr).toContain('bash');
  });
});
