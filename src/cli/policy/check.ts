import path from 'node:path';
import { EXIT } from '../../base/exit-codes.ts';
import { printablePath } from '../../base/path-bytes.ts';
import type { Policy } from '../../policy/contract.ts';
import { findProjectFile } from '../../policy/project-file.ts';
import { resolveInFull, type Resolution } from '../../policy/resolve.ts';
import { policyContext } from '../../sandbox/context.ts';
import type { CliIo } from '../contract.ts';
import { expectWords, verbArgs } from './args.ts';

/** Reads all layers, or one file as it would count, and tells every problem at once. */
export async function checkPolicy(args: readonly string[], io: CliIo): Promise<number> {
  const { values, words } = verbArgs('check', args, {
    workspace: { type: 'string', short: 'w' },
    policy: { type: 'string' },
  });
  // `--policy FILE` is what the other verbs call it.
  const names = [...(typeof values['policy'] === 'string' ? [values['policy']] : []), ...words];
  expectWords('check', names, 1);
  const workspace = typeof values['workspace'] === 'string' ? { workspace: values['workspace'] } : {};
  const { resolved } = resolveChecked(names[0], workspace, io);
  for (const notice of resolved.notices) io.stderr.write(`glovebox: ${notice}\n`);
  if (io.json)
    io.stdout.write(
      `${JSON.stringify({ ok: true, hash: resolved.hash, layers: resolved.policy.layers, notices: resolved.notices })}\n`,
    );
  else io.stdout.write(`${summary(resolved.policy)}\npolicy sha256 ${resolved.hash}\n`);
  return EXIT.ok;
}

/** The project's own file counts as one, trusted or not: whoever asks wants to know whether it is sound. */
function resolveChecked(
  name: string | undefined,
  layer: { readonly workspace?: string },
  io: CliIo,
): Resolution {
  const context = policyContext(io.env, io.cwd);
  if (name === undefined) return resolveInFull(context, layer, 'trusted');
  const target = path.resolve(io.cwd, name);
  const project = findProjectFile(resolveInFull(context, layer, 'none').workspace.real);
  if (project?.path === target && project.file !== undefined)
    return resolveInFull(context, layer, { all: project.file });
  return resolveInFull(context, { ...layer, policyFile: target }, 'none');
}

function summary(policy: Policy): string {
  const used = policy.layers.filter((info) => info.state === 'used' && info.file !== undefined);
  const files = used.map((info) => printablePath(info.file ?? ''));
  const { filesystem, network } = policy;
  const counts = [
    `${network.allow.length} network grants`,
    `${filesystem.read.length + filesystem.write.length} paths beside the workspace`,
    `${filesystem.deny.length + filesystem.protect.length} guarded`,
  ];
  return `ok: ${files.length === 0 ? 'built-in policy' : files.join(', ')}: ${counts.join(', ')}`;
}
