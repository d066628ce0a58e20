import { setTimeout as pause } from 'node:timers/promises';
import { readAudit } from '../audit/reader.ts';
import { isGloveboxError } from '../base/errors.ts';
import { gloveboxDirs } from '../base/paths.ts';
import type { SandboxOptions } from '../sandbox/options.ts';
import { Sandbox } from '../sandbox/sandbox.ts';
import type { Check, CheckResult, Verification } from './contract.ts';
import { FILE_CHECKS } from './file-checks.ts';
import { NETWORK_CHECKS } from './network-checks.ts';
import { PROCESS_CHECKS } from './process-checks.ts';
import { VerifySite } from './site.ts';

/** One attempt. A guest kernel in an emulated machine is slow. */
const CHECK_MS = 180_000;

/** The sandbox; longer than all attempts take in an emulated machine. */
const LIFE_MS = 3600_000;

/** A refusal is recorded before the next second. */
const RECORD_MS = 3_000;

/** Printed when everything before it was tried. */
const TRIED = 'glovebox-verify: tried';

/** Printed instead where the base system lacks a program. */
const LACKS = 'glovebox-verify: lacks';

export const CHECKS: readonly Check[] = [...FILE_CHECKS, ...PROCESS_CHECKS, ...NETWORK_CHECKS];

/** The sandbox that is verified: a policy of its own, and of the host's what a sandbox always has. */
export function verifiedOptions(site: VerifySite, env: NodeJS.ProcessEnv): SandboxOptions {
  return {
    workspace: site.workspace,
    timeoutMs: LIFE_MS,
    policy: {
      version: 1,
      filesystem: { deny: [site.inside('denied')], protect: [site.inside('protected')] },
    },
    hostEnv: { ...env, XDG_CONFIG_HOME: site.config, GLOVEBOX_VERIFY_SECRET: site.canary },
  };
}

/**
 * Starts one sandbox and tries to get out of it: every attempt is real, and what is judged is what became of the host and what the audit log says.
 *
 * @throws what `Sandbox.create` throws
 */
export async function verifyWalls(
  choice: Pick<SandboxOptions, 'tier' | 'driver' | 'image' | 'signal'>,
  env: NodeJS.ProcessEnv,
): Promise<Verification> {
  const site = await VerifySite.make();
  try {
    const sandbox = await Sandbox.create({ ...verifiedOptions(site, env), ...choice });
    try {
      return await verifySandbox(sandbox, site, env);
    } finally {
      await sandbox.kill();
    }
  } finally {
    site.remove();
  }
}

/** The same for a sandbox that is there, whose workspace is the site's. */
export async function verifySandbox(
  sandbox: Sandbox,
  site: VerifySite,
  env: NodeJS.ProcessEnv,
): Promise<Verification> {
  const checks: CheckResult[] = [];
  // One after the other: each may change what the next one finds.
  // oxlint-disable-next-line no-await-in-loop
  for (const check of CHECKS) checks.push(await tryOne(check, { sandbox, site, env }));
  const info = await sandbox.getInfo();
  return {
    tier: info.tier,
    driver: info.driver,
    checks,
    holds: checks.every(({ state }) => state !== 'fail'),
  };
}

interface Subject {
  readonly sandbox: Sandbox;
  readonly site: VerifySite;
  readonly env: NodeJS.ProcessEnv;
}

async function tryOne(check: Check, subject: Subject): Promise<CheckResult> {
  const { name, tries, needs, record } = check;
  const { sandbox, site } = subject;
  const lacks = (needs ?? [])
    .map((program) => `command -v ${program} >/dev/null || { echo '${LACKS} ${program}'; exit 0; }; `)
    .join('');
  const script = `${lacks}{ ${check.script(site)}; } 2>/dev/null; echo; echo '${TRIED}'`;
  const stdout = await said(sandbox, script);
  if (stdout.includes(LACKS))
    return { name, tries, state: 'skip', detail: `the base system lacks one of ${needs?.join(', ')}` };
  const detail =
    check.breach(stdout, site) ??
    (stdout.includes(TRIED) ? undefined : 'the attempt did not come to its end') ??
    (record === undefined || (await isRecorded(record, subject))
      ? undefined
      : 'the refusal is not in the audit log');
  return detail === undefined ? { name, tries, state: 'pass' } : { name, tries, state: 'fail', detail };
}

/** What an attempt printed; one that does not end says nothing, and so never that everything was tried. */
async function said(sandbox: Sandbox, script: string): Promise<string> {
  try {
    return (await sandbox.commands.run(['sh', '-c', script], { timeoutMs: CHECK_MS })).stdout;
  } catch (error) {
    if (isGloveboxError(error) && error.code === 'E_TIMEOUT') return '';
    throw error;
  }
}

async function isRecorded(
  { host, port }: NonNullable<Check['record']>,
  { sandbox, env }: Subject,
): Promise<boolean> {
  const stateDir = gloveboxDirs(env).state;
  const until = performance.now() + RECORD_MS;
  do {
    const filter = { sandbox: sandbox.id, kinds: ['network.verdict'] as const };
    // oxlint-disable-next-line no-await-in-loop -- the record may be on its way
    for await (const { data } of readAudit({ stateDir }, filter))
      if (data['action'] === 'deny' && data['host'] === host && data['port'] === port) return true;
    // oxlint-disable-next-line no-await-in-loop
    await pause(100);
  } while (performance.now() < until);
  return false;
}
