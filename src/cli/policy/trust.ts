import { createInterface } from 'node:readline';
import { policyTrust, type PolicyTrust } from '../../audit/events/policy-trust.ts';
import { auditEvent } from '../../audit/events/spec.ts';
import { openAudit } from '../../audit/writer.ts';
import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { printablePath } from '../../base/path-bytes.ts';
import type { CommandLineLayer, PolicyContext } from '../../policy/contract.ts';
import { diffPolicies, formatDifference } from '../../policy/diff.ts';
import type { FileBytes } from '../../policy/files.ts';
import { findProjectFile, PROJECT_FILES } from '../../policy/project-file.ts';
import { resolveInFull } from '../../policy/resolve.ts';
import { removeTrust, writeTrust } from '../../policy/trust.ts';
import type { Widening } from '../../policy/widenings.ts';
import { checkWorkspace } from '../../policy/workspace.ts';
import { policyContext } from '../../sandbox/context.ts';
import type { CliIo } from '../contract.ts';
import { expectWords, verbArgs } from './args.ts';

const YES = 'yes';

/** Shows what the project policy changes and, when a person agrees, remembers the hash of its bytes. */
export async function trustVerb(args: readonly string[], io: CliIo): Promise<number> {
  const { values, words } = verbArgs('trust', args, {
    yes: { type: 'boolean', short: 'y' },
    'tighten-only': { type: 'boolean' },
    workspace: { type: 'string', short: 'w' },
  });
  expectWords('trust', words, 0);
  const context = policyContext(io.env, io.cwd);
  const layer: CommandLineLayer =
    typeof values['workspace'] === 'string' ? { workspace: values['workspace'] } : {};
  const question = projectQuestion(context, layer);
  const tightenOnly = values['tighten-only'] === true;
  if (!io.json) io.stderr.write(questionText(question, tightenOnly));
  if (values['yes'] !== true && !(await agrees(io))) {
    io.stderr.write('glovebox: not trusted; nothing was changed\n');
    return EXIT.refused;
  }
  const accepted = tightenOnly ? [] : question.widenings.map((widening) => widening.key);
  const record = {
    path: question.file.path,
    sha256: question.file.sha256,
    accepted: [...new Set(accepted)],
    time: new Date().toISOString(),
  };
  await recordTrust(context, { action: 'trust', file: record.path, sha256: record.sha256 });
  writeTrust(context.stateDir, record);
  if (io.json)
    io.stdout.write(
      `${JSON.stringify({ ...record, widenings: question.widenings, changes: question.changes })}\n`,
    );
  else
    io.stdout.write(
      `trusted ${printablePath(record.path)} sha256 ${record.sha256.slice(0, 16)}${tightenOnly ? ', tightenings only' : ''}\n`,
    );
  return EXIT.ok;
}

/** Forgets a trust; the project policy is left out from now on. */
export async function untrustVerb(args: readonly string[], io: CliIo): Promise<number> {
  const { values, words } = verbArgs('untrust', args, { workspace: { type: 'string', short: 'w' } });
  expectWords('untrust', words, 0);
  const context = policyContext(io.env, io.cwd);
  const named = typeof values['workspace'] === 'string' ? values['workspace'] : '.';
  const workspace = checkWorkspace(named, context).real;
  // The file may be gone or changed: the record goes by its path.
  const removed = PROJECT_FILES.map((name) => removeTrust(context.stateDir, `${workspace}/${name}`)).includes(
    true,
  );
  if (removed) await recordTrust(context, { action: 'revoke', file: workspace, sha256: '' });
  if (io.json) io.stdout.write(`${JSON.stringify({ removed })}\n`);
  else
    io.stdout.write(
      removed ? `no longer trusted: the policy of ${printablePath(workspace)}\n` : 'it was not trusted\n',
    );
  return EXIT.ok;
}

/** The record stands before the trust does. */
async function recordTrust(context: PolicyContext, data: PolicyTrust): Promise<void> {
  const audit = openAudit({ stateDir: context.stateDir });
  await audit.write(auditEvent(policyTrust, data));
  await audit.close();
}

interface TrustQuestion {
  readonly file: FileBytes;
  readonly widenings: readonly Widening[];
  /** Lines for everything else that changes. */
  readonly changes: readonly string[];
}

function projectQuestion(context: PolicyContext, layer: CommandLineLayer): TrustQuestion {
  const without = resolveInFull(context, layer, 'none');
  const project = findProjectFile(without.workspace.real);
  if (project === undefined) {
    throw new GloveboxError('E_POLICY_NOT_FOUND', {
      what: `${printablePath(without.workspace.real)} has no policy`,
      next: `A project policy is ${PROJECT_FILES.join(' or ')} in the workspace.`,
    });
  }
  if (project.file === undefined) {
    throw new GloveboxError('E_POLICY_INVALID', {
      what: `${printablePath(project.path)} cannot be trusted`,
      ...(project.unusable === undefined ? {} : { why: project.unusable }),
    });
  }
  const all = resolveInFull(context, layer, { all: project.file });
  const changes = diffPolicies(without.resolved.policy, all.resolved.policy).filter(
    (difference) => difference.effect !== 'widening',
  );
  return { file: project.file, widenings: all.widenings, changes: changes.map(formatDifference) };
}

function questionText(question: TrustQuestion, tightenOnly: boolean): string {
  const { file, widenings, changes } = question;
  const mark = tightenOnly ? '  (left out)' : '';
  const lines = widenings.map((widening) => `  widens   ${widening.text}${placeOf(widening)}${mark}`);
  const none = lines.length + changes.length === 0 ? ['  it changes nothing'] : [];
  return `${printablePath(file.path)}  sha256 ${file.sha256.slice(0, 16)}\n${[...lines, ...changes.map((line) => `  ${line}`), ...none].join('\n')}\n`;
}

function placeOf(widening: Widening): string {
  const { position, profile } = widening.origin;
  if (profile !== undefined) return `  (${profile})`;
  return position === undefined ? '' : `  (line ${position.line})`;
}

/** Without a person at a terminal the answer is no. */
async function agrees(io: CliIo): Promise<boolean> {
  const isTerminal = io.stdin.isTTY && 'isTTY' in io.stderr && io.stderr.isTTY === true;
  if (!isTerminal) {
    throw new GloveboxError('E_POLICY_UNTRUSTED', {
      what: 'nobody can be asked: this is not a terminal',
      next: 'Read the lines above, then run `glovebox policy trust --yes`, or `--yes --tighten-only`.',
    });
  }
  const lines = createInterface({ input: io.stdin, output: io.stderr, terminal: false });
  try {
    io.stderr.write(`Trust exactly this file and what it widens? Type ${YES}: `);
    const { value } = await lines[Symbol.asyncIterator]().next();
    return typeof value === 'string' && value.trim() === YES;
  } finally {
    lines.close();
  }
}
