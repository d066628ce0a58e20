import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import type { CliCommand, CliIo } from '../contract.ts';
import { checkMachine, type Finding } from '../doctor/checks.ts';
import { checkContainer } from '../doctor/container.ts';
import { checkEngines } from '../doctor/engines.ts';
import { checkFirecracker } from '../doctor/firecracker.ts';
import { checkLimits } from '../doctor/limits.ts';
import { checkVmParts } from '../doctor/machine.ts';

export const doctorCommand: CliCommand = {
  name: 'doctor',
  summary: 'check this machine and print the exact fix for what is missing',
  usage: [
    'Usage: glovebox doctor [--json]',
    '',
    'Checks every layer by itself, then starts a sandbox that does nothing. Needs no root.',
    'Exit code 0 when sandboxes start, 125 when something is missing.',
  ].join('\n'),
  run: async (args, io) => {
    if (args.length > 0) throw new GloveboxError('E_USAGE', { what: `doctor takes no "${args[0]}"` });
    const findings = [...(await checkMachine(io.env)), ...checkLimits()];
    const broken = findings.some((finding) => finding.state === 'fail');
    const all = broken
      ? findings
      : [
          ...findings,
          ...(await checkContainer(io.env)),
          ...(await checkEngines(io.env)),
          ...checkVmParts(io.env),
          await checkFirecracker(io.env),
          await trial(io),
        ];
    const usable = all.every((finding) => finding.state !== 'fail');
    io.stdout.write(io.json ? `${JSON.stringify({ usable, findings: all }, null, 2)}\n` : text(all, usable));
    return usable ? EXIT.ok : EXIT.refused;
  },
};

const MARK = { ok: 'ok  ', warn: 'weak', fail: 'FAIL' } as const;

function text(findings: readonly Finding[], usable: boolean): string {
  const width = Math.max(...findings.map((finding) => finding.name.length));
  const rows = findings.flatMap((finding) => [
    `${MARK[finding.state]}  ${finding.name.padEnd(width)}  ${finding.detail}`,
    ...(finding.fix === undefined
      ? []
      : finding.fix.split('\n').map((line, i) => `      ${i === 0 ? 'fix: ' : '     '}${line}`)),
  ]);
  return [
    ...rows,
    '',
    usable ? 'Sandboxes start on this machine.' : 'Sandboxes do not start: fix the lines marked FAIL.',
    '',
  ].join('\n');
}

/** A whole run of `true`, by the same command line a user types. */
async function trial(io: CliIo): Promise<Finding> {
  const workspace = mkdtempSync(path.join(tmpdir(), 'glovebox-doctor-'));
  const started = performance.now();
  try {
    const { code, stderr } = await runTrial(workspace, io.env);
    const ms = Math.round(performance.now() - started);
    if (code === 0)
      return { name: 'trial run', state: 'ok', detail: `a sandbox started and ended in ${ms} ms` };
    return { name: 'trial run', state: 'fail', detail: stderr.trim() || `ended with ${code}` };
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}

function runTrial(
  workspace: string,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly code: number | null; readonly stderr: string }> {
  return new Promise((resolve) => {
    const program = process.argv[1] ?? 'glovebox';
    const args = [program, 'run', '--quiet', '--workspace', workspace, '--', '/bin/true'];
    const child = spawn(process.execPath, args, { cwd: workspace, env, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('utf8').slice(0, 2000);
    });
    child.on('error', (error) => resolve({ code: null, stderr: error.message }));
    child.on('close', (code) => resolve({ code, stderr }));
  });
}
