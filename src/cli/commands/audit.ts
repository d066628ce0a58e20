import { gloveboxDirs } from '../../base/paths.ts';
import { nearest } from '../../base/nearest.ts';
import { parseAuditArgs, usage, type AuditArgs } from '../audit/options.ts';
import { showAudit, tailAudit } from '../audit/show.ts';
import { verifyCommand } from '../audit/verify.ts';
import type { CliCommand, CliIo } from '../contract.ts';

const VERBS: Readonly<Record<string, (stateDir: string, args: AuditArgs, io: CliIo) => Promise<number>>> = {
  tail: tailAudit,
  show: showAudit,
  verify: verifyCommand,
};

export const auditCommand: CliCommand = {
  name: 'audit',
  summary: 'show and verify the record of every decision',
  usage: `Usage: glovebox audit tail [-f] [-n N] [SANDBOX]     the last records; -f waits for more
       glovebox audit show [SANDBOX]                every record
       glovebox audit verify [--expect-head HEAD]   check that nothing was changed, removed or added

  -k, --kind KIND          only this kind, such as network.verdict; may be repeated
      --since TIME         only from then on: 90s, 10m, 2h, 7d, or a date
  -n, --lines N            how many with tail (default 20)
      --expect-head HEAD   HASH:SEQ that an earlier verify printed: proves that nothing up to there was cut off
      --json               one JSON object a line

The log lies in $XDG_STATE_HOME/glovebox/audit. \`verify\` ends with 0 when it is whole, with 125 when not.`,
  run: async (args, io) => {
    const parsed = parseAuditArgs(args);
    const verb = parsed.verb ?? '';
    const act = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (act === undefined) throw unknownVerb(parsed.verb);
    return act(gloveboxDirs(io.env).state, parsed, io);
  },
};

function unknownVerb(verb: string | undefined): Error {
  if (verb === undefined) return usage('audit needs one of tail, show, verify', 'Run `glovebox help audit`.');
  const near = nearest(verb, Object.keys(VERBS));
  const next = near === undefined ? 'Run `glovebox help audit`.' : `Did you mean \`glovebox audit ${near}\`?`;
  return usage(`there is no audit command "${verb}"`, next);
}
