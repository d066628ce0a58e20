import { spawn } from 'node:child_process';
import path from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import { killGroup } from '../../base/process-group.ts';
import { findProgram, type HostProgram } from '../../drivers/find-program.ts';
import { hostSystem, type SystemFact } from '../../drivers/view.ts';
import type { RootSource } from '../contract.ts';
import { machineError } from '../problem.ts';
import { partsOf } from './source.ts';

const MKFS: HostProgram = {
  name: 'mkfs.erofs',
  title: 'mkfs.erofs',
  variable: 'GLOVEBOX_MKFS_EROFS',
  usualPlaces: ['/usr/bin/mkfs.erofs', '/usr/sbin/mkfs.erofs'],
};

/** Seven gigabytes took two minutes on a loaded machine; the bound is for what hangs. */
const BUILD_MS = 30 * 60_000;

/** Enough for what went wrong. */
const COMPLAINT = 2_000;

/** Where things stand for the program. */
const VIEW = '/view';
const OUT = '/out';
const SELF = '/mkfs';

export interface MkfsInput {
  readonly bubblewrap: string;
  readonly mkfs: string;
  readonly source: RootSource;
  /** Programs and libraries that mkfs.erofs runs with. */
  readonly system: readonly SystemFact[];
  readonly excluded: readonly string[];
  /** Directories that stand empty, in the guest. */
  readonly hidden: readonly string[];
  /** Absolute, on the host; its directory is writable for the program. */
  readonly output: string;
}

/** @throws E_TIER_UNAVAILABLE */
export function findMkfs(env: NodeJS.ProcessEnv): string {
  const found = findProgram(MKFS, env, '/nonexistent');
  if ('path' in found) return found.path;
  throw machineError('program-missing', {
    why: found.why,
    next: 'Run scripts/setup.sh, or: sudo apt-get install erofs-utils',
  });
}

/**
 * The program and its arguments: mkfs.erofs in a jail without network, capabilities or anything of the host but the system it runs with, the
 * files it packs, and the directory it writes to. Pure.
 */
export function mkfsArgs(input: MkfsInput): readonly string[] {
  const frame = ['--unshare-all', '--die-with-parent', '--new-session', '--cap-drop', 'ALL', '--clearenv'];
  return [
    ...frame,
    ...input.system.flatMap((fact) => systemArgs(fact, '')),
    ...['--dev', '/dev', '--ro-bind', input.mkfs, SELF],
    ...viewArgs(input.source),
    ...input.hidden.flatMap((dir) => ['--tmpfs', `${VIEW}${dir}`]),
    ...['--bind', path.dirname(input.output), OUT, '--remount-ro', '/', '--chdir', '/'],
    ...['--', SELF, '--quiet', '-zlz4', '-x-1', '--all-root'],
    ...input.excluded.map((target) => `--exclude-path=${target}`),
    ...[`${OUT}/${path.basename(input.output)}`, VIEW],
  ];
}

function viewArgs(source: RootSource): readonly string[] {
  if (source.kind === 'tree') return ['--ro-bind', source.root, VIEW];
  const links = source.system.filter((fact) => fact.link !== undefined);
  return [
    ...links.flatMap((fact) => systemArgs(fact, VIEW)),
    ...partsOf(source).flatMap((part) => ['--ro-bind', part.source, `${VIEW}${part.target}`]),
  ];
}

function systemArgs(fact: SystemFact, below: string): readonly string[] {
  if (fact.link !== undefined) return ['--symlink', fact.link, `${below}${fact.path}`];
  return ['--ro-bind', fact.source, `${below}${fact.path}`];
}

/** Writes the image. @throws E_TIER_UNAVAILABLE, E_IMAGE_SPACE, E_ABORTED */
export async function runMkfs(input: Omit<MkfsInput, 'system'>, signal?: AbortSignal): Promise<void> {
  const isAborted = (): boolean => signal?.aborted === true;
  if (isAborted()) throw aborted();
  const child = spawn(input.bubblewrap, mkfsArgs({ ...input, system: hostSystem() }), {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {},
    detached: true,
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk.toString('utf8')}`.slice(-COMPLAINT);
  });
  const stop = (): void => killGroup(child);
  const timer = setTimeout(stop, BUILD_MS);
  signal?.addEventListener('abort', stop, { once: true });
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', (error) => {
      said = error.message;
      resolve(null);
    });
    child.once('close', resolve);
  });
  clearTimeout(timer);
  signal?.removeEventListener('abort', stop);
  if (code === 0) return;
  if (isAborted()) throw aborted();
  throw failure(code, said.trim());
}

function aborted(): GloveboxError {
  return new GloveboxError('E_ABORTED', { what: 'the start was aborted' });
}

function failure(code: number | null, said: string): GloveboxError {
  if (/No space left/i.test(said))
    return new GloveboxError('E_IMAGE_SPACE', {
      what: "the disk is full: the guest's root cannot be made",
      why: lastLine(said),
    });
  const how = code === null ? `it was ended after ${BUILD_MS / 60_000} minutes at most` : `exit code ${code}`;
  return machineError('build-failed', { why: `mkfs.erofs made no root: ${lastLine(said) || how}` });
}

const lastLine = (text: string): string => text.split('\n').at(-1)?.slice(0, 300) ?? '';
