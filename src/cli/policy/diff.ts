import { EXIT } from '../../base/exit-codes.ts';
import type { CommandLineLayer, Policy } from '../../policy/contract.ts';
import { diffPolicies, formatDifference } from '../../policy/diff.ts';
import { findProjectFile } from '../../policy/project-file.ts';
import { resolveInFull, type ProjectUse } from '../../policy/resolve.ts';
import { policyContext } from '../../sandbox/context.ts';
import type { CliIo } from '../contract.ts';
import { expectWords, verbArgs } from './args.ts';

/** Compares two policies; without names, the policy without and with all that the project asks for. */
export async function diffVerb(args: readonly string[], io: CliIo): Promise<number> {
  const { words } = verbArgs('diff', args, {});
  expectWords('diff', words, 2);
  const [before, after] = policies(words, io);
  const differences = diffPolicies(before, after);
  if (io.json) io.stdout.write(`${JSON.stringify(differences, null, 2)}\n`);
  else
    io.stdout.write(
      differences.length === 0 ? 'no difference\n' : `${differences.map(formatDifference).join('\n')}\n`,
    );
  return EXIT.ok;
}

function policies(words: readonly string[], io: CliIo): readonly [Policy, Policy] {
  const context = policyContext(io.env, io.cwd);
  const resolve = (layer: CommandLineLayer, use: ProjectUse): Policy =>
    resolveInFull(context, layer, use).resolved.policy;
  const [first, second] = words;
  if (first !== undefined && second !== undefined)
    return [resolve(layerOf(first), 'none'), resolve(layerOf(second), 'none')];
  if (first !== undefined) return [resolve({}, 'trusted'), resolve(layerOf(first), 'none')];
  const without = resolveInFull(context, {}, 'none');
  const project = findProjectFile(without.workspace.real);
  const withProject =
    project?.file === undefined ? without.resolved.policy : resolve({}, { all: project.file });
  return [without.resolved.policy, withProject];
}

function layerOf(name: string): CommandLineLayer {
  return name.startsWith('profile:') ? { profiles: [name] } : { policyFile: name };
}
