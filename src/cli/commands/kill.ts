import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { printablePath } from '../../base/path-bytes.ts';
import { connectChamber } from '../../sandbox/attach/remote.ts';
import type { EndReport } from '../../sandbox/end.ts';
import { listSandboxes } from '../../sandbox/listing.ts';
import type { CliCommand, CliIo } from '../contract.ts';
import { parseWords } from '../image/args.ts';
import { sandboxId } from '../sandboxes/find.ts';

type Outcome =
  | { readonly sandbox: string; readonly report: EndReport }
  | { readonly sandbox: string; readonly error: GloveboxError };

export const killCommand: CliCommand = {
  name: 'kill',
  summary: 'end living sandboxes',
  usage: [
    'Usage: glovebox kill ID|NAME…',
    '       glovebox kill --all',
    '',
    'Ends sandboxes at once, with everything that runs in them, and says what of them is left on this machine: nothing, as a rule.',
    'Their owners, the processes that made them, go on.',
    '',
    '      --all    every living sandbox of this user',
    '      --json   one JSON object: {"ended": [{sandbox, report | error}, …]}',
    '',
    'Exit code: 0 when all of them ended and left nothing, else 125.',
  ].join('\n'),
  run: async (args, io) => {
    const parsed = parseWords(args, { '--all': 'switch' }, 'kill');
    const { words } = parsed;
    const all = parsed.has('--all');
    if (all === words.length > 0)
      throw new GloveboxError('E_USAGE', {
        what: all ? '--all takes no further names' : 'kill needs a sandbox',
        next: 'Use: glovebox kill ID|NAME… or glovebox kill --all',
      });
    const targets = all ? await allOf(io.env) : words;
    const ended = await Promise.all(targets.map((word) => end(word, io.env)));
    if (io.json) io.stdout.write(`${JSON.stringify({ ended })}\n`);
    else for (const outcome of ended) tell(outcome, io);
    return ended.every((outcome) => 'report' in outcome && outcome.report.receipt.complete)
      ? EXIT.ok
      : EXIT.refused;
  },
};

async function allOf(env: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const info of listSandboxes({}, env)) ids.push(info.sandboxId);
  return ids;
}

async function end(word: string, env: NodeJS.ProcessEnv): Promise<Outcome> {
  try {
    const sandbox = await sandboxId(word, env);
    const chamber = await connectChamber(sandbox, env);
    try {
      return { sandbox, report: await chamber.kill() };
    } finally {
      chamber.disconnect();
    }
  } catch (error) {
    if (isGloveboxError(error)) return { sandbox: word, error };
    throw error;
  }
}

function tell(outcome: Outcome, io: CliIo): void {
  const name = printablePath(outcome.sandbox);
  if ('error' in outcome) {
    const { message, next, code } = outcome.error;
    io.stderr.write(`glovebox: ${name}: ${printablePath(message)}\n  ${next} [${code}]\n`);
    return;
  }
  const left = outcome.report.receipt.items.filter((item) => !item.gone);
  const rest = left.map((item) => `${item.kind} ${printablePath(item.name)}`).join(', ');
  io.stdout.write(`${name} ended; ${left.length === 0 ? 'nothing of it is left' : `left: ${rest}`}\n`);
}
