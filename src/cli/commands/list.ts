import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { printablePath } from '../../base/path-bytes.ts';
import type { SandboxInfo } from '../../sandbox/chamber.ts';
import { listSandboxes, type SandboxQuery } from '../../sandbox/listing.ts';
import type { CliCommand } from '../contract.ts';
import { parseWords, type ParsedWords } from '../image/args.ts';

const OPTIONS = {
  '--name': 'once',
  '--state': 'once',
  '--metadata': 'many',
  '--quiet': 'switch',
  '-q': 'switch',
} as const;

export const listCommand: CliCommand = {
  name: 'list',
  summary: 'list the living sandboxes of this user',
  usage: [
    'Usage: glovebox list [options]',
    '',
    'Lists the sandboxes that this user’s processes hold with the SDK, oldest first. Each is asked of its owner; one whose owner does not',
    'answer is left out. (`glovebox run` and `shell` are one command each, and are not listed.)',
    '',
    '      --name NAME           only the one of this name',
    '      --state STATE         only those that are running, or paused',
    '      --metadata KEY=VALUE  only those with this label; may be repeated',
    '  -q, --quiet               ids only',
    '      --json                one JSON object: {"sandboxes": […]}, times in milliseconds since the epoch',
  ].join('\n'),
  run: async (args, io) => {
    const parsed = parseWords(args, OPTIONS, 'list');
    if (parsed.words[0] !== undefined)
      throw new GloveboxError('E_USAGE', { what: `list takes no "${parsed.words[0]}"` });
    const sandboxes: SandboxInfo[] = [];
    for await (const info of listSandboxes(queryOf(parsed), io.env)) sandboxes.push(info);
    if (io.json) io.stdout.write(`${JSON.stringify({ sandboxes })}\n`);
    else if (parsed.has('--quiet') || parsed.has('-q'))
      io.stdout.write(sandboxes.map(({ sandboxId }) => `${sandboxId}\n`).join(''));
    else io.stdout.write(tableOf(sandboxes));
    return EXIT.ok;
  },
};

function queryOf(parsed: ParsedWords): SandboxQuery {
  const name = parsed.one('--name');
  const state = parsed.one('--state');
  if (state !== undefined && state !== 'running' && state !== 'paused')
    throw new GloveboxError('E_USAGE', {
      what: `there is no state "${state}"`,
      next: 'Use running or paused.',
    });
  const metadata = Object.fromEntries(parsed.all('--metadata').map(labelOf));
  return { metadata, ...(name === undefined ? {} : { name }), ...(state === undefined ? {} : { state }) };
}

function labelOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new GloveboxError('E_USAGE', { what: `"${text}" is no label`, next: 'Use --metadata KEY=VALUE.' });
}

const HEAD = ['ID', 'NAME', 'STATE', 'TIER', 'AGE', 'ENDS IN', 'OWNER', 'WORKSPACE'];

function tableOf(sandboxes: readonly SandboxInfo[]): string {
  const rows = [HEAD, ...sandboxes.map(rowOf)];
  const widths = HEAD.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return `${rows.map(line).join('\n')}\n`;
}

function rowOf(info: SandboxInfo): readonly string[] {
  const { sandboxId, name = '-', state, tier, startedAt, endAt, ownerPid, workspace } = info;
  const now = Date.now();
  const ends = endAt === undefined ? '-' : duration(endAt - now);
  const shown = [sandboxId, name, state, tier, duration(now - startedAt), ends, String(ownerPid), workspace];
  return shown.map(printablePath);
}

/** The two greatest units: `2h 5m`, `14s`. */
function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const units = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3600) % 24],
    ['m', Math.floor(seconds / 60) % 60],
    ['s', seconds % 60],
  ] as const;
  const first = units.findIndex(([, count]) => count > 0);
  const shown = units.slice(first === -1 ? 3 : first).slice(0, 2);
  return shown
    .filter(([, count], i) => i === 0 || count > 0)
    .map(([unit, count]) => `${count}${unit}`)
    .join(' ');
}
