import path from 'node:path';
import { canonicalHash } from '../base/canonical-json.ts';
import { GloveboxError } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import type { CommandLineLayer, PolicyContext, ResolvedPolicy } from './contract.ts';
import { readSmallFile, sha256 } from './files.ts';
import { freeze } from './freeze.ts';
import { inputState, type Input } from './inputs.ts';
import { writePrivateFile } from './trust.ts';
import { checkWorkspace, type Workspace } from './workspace.ts';

/** Raised when the shape of an entry, or of a policy, changes. */
const FORMAT = 2;
/** Entries beyond this are compiled anew each time. */
const MAX_ENTRY_BYTES = 1024 * 1024;

/** What is kept of one resolution. */
export interface CacheEntry {
  readonly resolved: ResolvedPolicy;
  readonly workspace: Workspace;
  readonly inputs: readonly Input[];
}

/** Identifies a question: who asks, from where, with which options. What the files said is checked on reading. */
export function cacheKey(context: PolicyContext, commandLine: CommandLineLayer, build: string): string {
  const { cwd, home, configDir, stateDir, cacheDir, organisationFile, env } = context;
  const runtime = env['XDG_RUNTIME_DIR'] ?? '';
  return canonicalHash({
    FORMAT,
    build,
    commandLine,
    cwd,
    home,
    configDir,
    stateDir,
    cacheDir,
    organisationFile,
    runtime,
  });
}

/**
 * The stored answer, when every file it was made from is unchanged and the workspace still stands. Anything odd (another owner,
 * other rights, a wrong checksum) counts as no answer: the policy is then compiled from its files.
 */
export function readCache(context: PolicyContext, key: string): ResolvedPolicy | undefined {
  try {
    const file = readSmallFile(entryFile(context, key), 'private');
    if (file === undefined) return undefined;
    const entry = decode(file.bytes);
    if (entry === undefined || !entry.inputs.every(isUnchanged)) return undefined;
    if (checkWorkspace(entry.workspace.named, context).real !== entry.workspace.real) return undefined;
    return freeze(entry.resolved);
  } catch (error) {
    // The compiler reports what is wrong with a file; a cache never does.
    if (error instanceof GloveboxError || error instanceof SyntaxError || error instanceof TypeError)
      return undefined;
    throw error;
  }
}

/** Stores an answer; a failure costs time later and nothing else. */
export function writeCache(context: PolicyContext, key: string, entry: CacheEntry): void {
  const body = JSON.stringify(entry);
  if (body.length > MAX_ENTRY_BYTES) return;
  try {
    ensurePrivateDir(context.cacheDir);
    ensurePrivateDir(path.dirname(entryFile(context, key)));
    writePrivateFile(entryFile(context, key), `${sha256(body)}\n${body}`);
  } catch (error) {
    if (!(error instanceof GloveboxError)) throw error;
  }
}

function entryFile(context: PolicyContext, key: string): string {
  return path.join(context.cacheDir, 'policy', `${key}.json`);
}

function decode(bytes: Buffer): CacheEntry | undefined {
  const newline = bytes.indexOf(10);
  if (newline !== 64) return undefined;
  const body = bytes.subarray(newline + 1);
  if (sha256(body) !== bytes.toString('latin1', 0, newline)) return undefined;
  const entry: unknown = JSON.parse(body.toString('utf8'));
  return isEntry(entry) ? entry : undefined;
}

/** The checksum says that we wrote it; the parts that are looked at before the answer is given are checked all the same. */
function isEntry(value: unknown): value is CacheEntry {
  return (
    typeof value === 'object' &&
    value !== null &&
    'inputs' in value &&
    Array.isArray(value.inputs) &&
    'workspace' in value &&
    'resolved' in value
  );
}

function isUnchanged(input: Input): boolean {
  return inputState(input.path, input.kind).state === input.state;
}
