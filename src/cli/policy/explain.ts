import { EXIT } from '../../base/exit-codes.ts';
import { explainPolicy } from '../../policy/explain.ts';
import { loadPolicy } from '../../policy/load.ts';
import { policyContext } from '../../sandbox/context.ts';
import type { CliIo } from '../contract.ts';
import { layerArgs } from './args.ts';

/** Prints the policy that a `run` with the same options would use. */
export async function explainVerb(args: readonly string[], io: CliIo): Promise<number> {
  const sources = args.includes('--sources');
  const layer = layerArgs(
    'explain',
    args.filter((arg) => arg !== '--sources'),
  );
  const resolved = await loadPolicy(policyContext(io.env, io.cwd), layer);
  for (const notice of resolved.notices) io.stderr.write(`glovebox: ${notice}\n`);
  io.stdout.write(
    io.json ? `${JSON.stringify(resolved, null, 2)}\n` : explainPolicy(resolved.policy, { sources }),
  );
  return EXIT.ok;
}
