import { spawn } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { constants, accessSync } from 'node:fs';
import { AGENT_PATH } from '../bubblewrap/args.ts';
import { findProgram, type HostProgram } from '../find-program.ts';
import { GloveboxError } from '../../base/errors.ts';
import { killGroup } from '../../base/process-group.ts';
import { jailFrame, runtimeFlags, type Platform } from './args.ts';
import { JAIL } from './layout.ts';

/** Older ones lack settings that are needed here; this one is in Debian's backports. */
export const MINIMUM_VERSION = '20240729';

const RUNSC: HostProgram = {
  name: 'runsc',
  title: 'gVisor (runsc)',
  variable: 'GLOVEBOX_RUNSC',
  usualPlaces: ['/usr/bin/runsc', '/usr/local/bin/runsc'],
};

/** Debian 12 has it in its backports, newer releases in main; elsewhere it is one file. */
export const INSTALL = 'scripts/setup.sh, or: sudo apt-get install -t bookworm-backports runsc';

/** A guest that says one word takes 150 ms on a quiet machine; a platform that hangs says it never. */
const TRIAL_MS = 20_000;

/**
 * Where runsc is: `GLOVEBOX_RUNSC`, the usual places, then the PATH.
 *
 * @throws E_TIER_UNAVAILABLE
 */
export function findRunsc(env: NodeJS.ProcessEnv, workspace: string): string {
  const found = findProgram(RUNSC, env, workspace);
  if ('why' in found) throw unavailable(found.why);
  return found.path;
}

/** What every refusal of this tier says. */
export function unavailable(why: string, next = `Run: ${INSTALL}`): GloveboxError {
  return new GloveboxError('E_TIER_UNAVAILABLE', { what: 'the container tier cannot start', why, next });
}

/**
 * The date that is gVisor's version.
 *
 * @throws E_TIER_UNAVAILABLE for another program and for one that is too old
 */
export function runscVersion(runsc: string): string {
  const version = /^runsc version \S*?(\d{8})/.exec(versionText(runsc))?.[1];
  if (version === undefined) throw unavailable(`${runsc} is not gVisor's runsc`);
  if (version < MINIMUM_VERSION)
    throw unavailable(`${runsc} is of ${version}; ${MINIMUM_VERSION} or newer is needed`);
  return version;
}

function versionText(runsc: string): string {
  try {
    return execFileSync(runsc, ['--version'], {
      encoding: 'utf8',
      timeout: 5_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return '';
  }
}

export interface Trial {
  readonly runsc: string;
  readonly bubblewrap: string;
  readonly agent: string;
}

/** Why a platform does not work. */
export interface TrialFailure {
  readonly why: string;
  /** It said nothing in time, which on a machine under load may be chance. */
  readonly late: boolean;
}

/** Boots a guest in a jail with a platform, to say one word; answers undefined when it did. */
export async function tryPlatform(trial: Trial, platform: Platform): Promise<TrialFailure | undefined> {
  if (platform === 'kvm' && !canOpen('/dev/kvm')) return { why: '/dev/kvm cannot be opened', late: false };
  const child = spawn(trial.bubblewrap, trialArgs(trial, platform), {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: {},
    detached: true,
  });
  const said = { out: '', err: '' };
  child.stdout?.on('data', (chunk: Buffer) => (said.out += chunk.toString('utf8')));
  child.stderr?.on('data', (chunk: Buffer) => (said.err += chunk.toString('utf8')));
  const config = child.stdio[3];
  if (config !== null && config !== undefined && 'end' in config)
    config.on('error', () => undefined).end(TRIAL_SPEC);
  const timer = setTimeout(() => killGroup(child), TRIAL_MS);
  const ended = await new Promise<TrialFailure>((resolve) => {
    child.once('error', (error) => resolve({ why: error.message, late: false }));
    child.once('close', (code, signal) =>
      resolve(
        signal === null
          ? { why: `exit code ${code}`, late: false }
          : { why: `no answer within ${TRIAL_MS} ms`, late: true },
      ),
    );
  });
  clearTimeout(timer);
  if (said.out.startsWith('glovebox-agent')) return undefined;
  const complaint = said.err.trim().split('\n').at(-1);
  return { ...ended, ...(complaint ? { why: complaint } : {}) };
}

function trialArgs({ runsc, agent }: Trial, platform: Platform): readonly string[] {
  const [, ...frame] = jailFrame({ runsc, platform, hostname: 'glovebox' });
  return [
    ...frame,
    ...['--unshare-net', '--perms', '444', '--ro-bind-data', '3', `${JAIL.bundle}/config.json`],
    ...['--ro-bind', agent, `${JAIL.view}${AGENT_PATH}`, '--remount-ro', '/', '--chdir', '/'],
    ...['--', ...runtimeFlags(platform), 'run', `--bundle=${JAIL.bundle}`, 'trial'],
  ];
}

const TRIAL_SPEC = JSON.stringify({
  ociVersion: '1.0.2',
  process: {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args: [AGENT_PATH, 'version'],
    env: [],
    cwd: '/',
    capabilities: {},
    noNewPrivileges: true,
  },
  root: { path: JAIL.view, readonly: true },
  mounts: [],
  linux: { namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })) },
});

function canOpen(file: string): boolean {
  try {
    accessSync(file, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
