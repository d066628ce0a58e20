import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { followAudit } from '../../audit/follow.ts';
import { openAudit } from '../../audit/writer.ts';
import { auditCommand } from '../commands/audit.ts';
import type { CliIo } from '../contract.ts';
import { parseSince } from './options.ts';

let home = '';
const state = (): string => path.join(home, 'glovebox');
beforeEach(async () => {
  home = mkdtempSync(path.join(tmpdir(), 'glovebox-audit-cli-'));
  const audit = openAudit({ stateDir: state() });
  await audit.write({
    kind: 'run.start',
    sandbox: 'sbx_one',
    data: { tier: 'container', driver: 'docker', workspace: '/w' },
  });
  await audit.write({
    kind: 'run.command',
    sandbox: 'sbx_one',
    data: { argv: ['bash', '-c', 'echo "it\'s"'], cwd: '/w' },
  });
  await audit.write({
    kind: 'network.verdict',
    sandbox: 'sbx_one',
    data: {
      action: 'deny',
      host: 'evil\u001b[2J.example',
      port: 443,
      rule: 'default.deny',
      reason: 'no rule names it',
    },
  });
  await audit.write({
    kind: 'run.end',
    sandbox: 'sbx_two',
    data: { cause: 'exit', status: 3, durationMs: 12 },
  });
  await audit.close();
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

async function run(
  args: readonly string[],
  json = false,
): Promise<{ readonly code: number; readonly out: string }> {
  const stdout = new PassThrough();
  let out = '';
  stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const io: CliIo = {
    stdout,
    stderr: new PassThrough(),
    stdin: process.stdin,
    env: { HOME: home, XDG_STATE_HOME: home },
    cwd: home,
    json,
  };
  const code = await auditCommand.run(args, io);
  return { code, out };
}
const body = (out: string): string[] =>
  out
    .trimEnd()
    .split('\n')
    .map((line) => line.slice(25));

test('show prints what happened, in which sandbox, by which rule', async () => {
  const { code, out } = await run(['show']);
  expect(code).toBe(0);
  expect(body(out)).toEqual([
    'sbx_one           run.start        tier container by docker, workspace /w',
    String.raw`sbx_one           run.command      bash -c 'echo "it'\''s"'  (in /w)`,
    String.raw`sbx_one           network.verdict  deny evil\u{1b}[2J.example:443: no rule names it  [default.deny]`,
    'sbx_two           run.end          exit 3 after 12 ms',
  ]);
});

test('show narrows by sandbox, kind and time; --json gives the records', async () => {
  expect(body((await run(['show', 'sbx_two'])).out).length).toBe(1);
  expect(body((await run(['show', '-k', 'run.start', '--kind', 'run.end'])).out).length).toBe(2);
  expect((await run(['show', '--since', '2h'])).out).not.toBe('');
  expect((await run(['show', '--since', '2999-01-01'])).out).toBe('');
  const { out } = await run(['show', 'sbx_two'], true);
  expect(JSON.parse(out)).toMatchObject({ kind: 'run.end', sandbox: 'sbx_two', data: { status: 3 }, v: 1 });
});

test('a record that was planted with control characters does not reach the terminal', async () => {
  const file = path.join(state(), 'audit/audit.jsonl');
  writeFileSync(file, readFileSync(file, 'utf8').replaceAll('workspace":"/w', 'workspace":"\u009b2J\u202e'));
  expect((await run(['show'])).out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  expect((await run(['show'], true)).out).not.toMatch(/[^\n\u0020-\u007e]/);
});

test('tail prints the last ones', async () => {
  expect(body((await run(['tail', '-n', '2'])).out).length).toBe(2);
  expect((await run(['tail', '-n', '0'])).out).toBe('');
});

test('verify prints the head, which proves the log later', async () => {
  const first = await run(['verify']);
  expect(first.code).toBe(0);
  const head = /whole: 4 records in 1 file, head ([0-9a-f]{64}:3)\n/.exec(first.out)?.[1] ?? '';
  expect((await run(['verify', '--expect-head', head])).code).toBe(0);
  const file = path.join(state(), 'audit/audit.jsonl');
  writeFileSync(file, readFileSync(file, 'utf8').split('\n').slice(0, 3).join('\n').concat('\n'));
  expect((await run(['verify'])).code).toBe(0);
  const cut = await run(['verify', '--expect-head', head]);
  expect(cut.code).toBe(125);
  expect(cut.out).toContain('what came up to 3 was cut off');
});

test.each([
  [[], 'audit needs one of tail, show, verify'],
  [['tial'], 'there is no audit command "tial"'],
  [['show', '--kind', 'run.strat'], 'there is no kind "run.strat"'],
  [['show', '--since', 'yesterday'], '--since yesterday is neither'],
  [['tail', '-n', 'x'], '--lines x is not a number'],
  [['verify', '--expect-head', 'abc'], '--expect-head abc is not HASH:SEQ'],
  [['show', '--nope'], "Unknown option '--nope'"],
  [['constructor'], 'there is no audit command'],
])('refuses %j', async (args, message) => {
  await expect(run(args)).rejects.toMatchObject({ code: 'E_USAGE', what: expect.stringContaining(message) });
});

test('spans and dates', () => {
  expect(parseSince('90s', 100_000)).toBe(10_000);
  expect(parseSince('2h', 7_200_000)).toBe(0);
  expect(parseSince('1970-01-02T00:00:00Z', 0)).toBe(86_400_000);
});

test('following hands over new records, across rotations', async () => {
  const seen: unknown[] = [];
  const stop = new AbortController();
  const following = followAudit({
    stateDir: state(),
    signal: stop.signal,
    onRecord: (record) => {
      seen.push(record.kind === 'limit.hit' ? record.data['value'] : record.kind);
      if (seen.includes(29)) stop.abort();
    },
  });
  const audit = openAudit({ stateDir: state(), maxFileBytes: 6000 });
  for (let i = 0; i < 30; i++) {
    await audit.write({ kind: 'limit.hit', data: { limit: 'pids', value: i, note: 'ö' } });
    await sleep(2);
  }
  await audit.close();
  await following;
  expect(seen.filter((value) => typeof value === 'number')).toEqual(Array.from({ length: 30 }, (_, i) => i));
  expect(seen).toContain('audit.rotated');
});
