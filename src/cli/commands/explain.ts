import { EXIT } from '../../base/exit-codes.ts';
import { homeDirectory } from '../../base/paths.ts';
import { preparePlan } from '../../sandbox/prepare.ts';
import type { CliCommand } from '../contract.ts';
import { explainPlan } from '../explain-plan.ts';
import { optionHelp, parseRun } from '../options.ts';
import { loadRunPolicy } from '../run-policy.ts';

export const explainCommand: CliCommand = {
  name: 'explain',
  summary: 'print the plan: what a command would see, reach and spend',
  usage: ['Usage: glovebox explain [options of run] [--json]', '', optionHelp()].join('\n'),
  run: async (args, io) => {
    const parsed = parseRun(args);
    const resolved = await loadRunPolicy(parsed, io);
    const prepared = await preparePlan({
      policy: resolved.policy,
      env: io.env,
      home: homeDirectory(io.env),
      ...(parsed.cwd === undefined ? {} : { cwd: parsed.cwd }),
    });
    for (const notice of resolved.notices) io.stderr.write(`glovebox: ${notice}\n`);
    const facts = { policyHash: resolved.hash, planHash: prepared.hash };
    io.stdout.write(
      io.json
        ? `${JSON.stringify({ ...facts, plan: prepared.plan }, null, 2)}\n`
        : explainPlan(prepared.plan, { ...facts, credentials: resolved.policy.credentials }),
    );
    return EXIT.ok;
  },
};
