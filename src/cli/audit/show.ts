import type { AuditRecord } from '../../audit/contract.ts';
import { followAudit } from '../../audit/follow.ts';
import { readAudit, matchesFilter, type AuditFilter } from '../../audit/reader.ts';
import { EXIT } from '../../base/exit-codes.ts';
import type { CliIo } from '../contract.ts';
import { recordJson, recordRow } from './format.ts';
import type { AuditArgs } from './options.ts';

const TAIL_LINES = 20;

/** `audit show`: every record that matches. */
export async function showAudit(stateDir: string, args: AuditArgs, io: CliIo): Promise<number> {
  const filter = filterOf(args);
  let found = false;
  for await (const record of readAudit({ stateDir }, filter)) {
    found = true;
    await print(record, io);
  }
  if (!found) io.stderr.write('glovebox: no record matches\n');
  return EXIT.ok;
}

/** `audit tail`: the last ones, and with `-f` those to come. */
export async function tailAudit(stateDir: string, args: AuditArgs, io: CliIo): Promise<number> {
  const filter = filterOf(args);
  const keep = args.count ?? TAIL_LINES;
  let last: AuditRecord[] = [];
  for await (const record of readAudit({ stateDir }, filter)) {
    last.push(record);
    if (last.length > 2 * keep + 100) last = last.slice(-keep);
  }
  const shown = keep === 0 ? [] : last.slice(-keep);
  for (const record of shown) await print(record, io);
  if (args.follow) await follow(stateDir, filter, io);
  return EXIT.ok;
}

function filterOf(args: AuditArgs): AuditFilter {
  return {
    ...(args.words[0] === undefined ? {} : { sandbox: args.words[0] }),
    ...(args.kinds === undefined ? {} : { kinds: args.kinds }),
    ...(args.sinceMs === undefined ? {} : { sinceMs: args.sinceMs }),
  };
}

/** Until the reader of our output goes away; Ctrl-C ends the process. */
async function follow(stateDir: string, filter: AuditFilter, io: CliIo): Promise<void> {
  const stop = new AbortController();
  const end = (): void => stop.abort();
  io.stdout.once('error', end);
  io.stdout.once('close', end);
  await followAudit({
    stateDir,
    signal: stop.signal,
    onRecord: (record) => {
      if (matchesFilter(record, filter)) io.stdout.write(text(record, io));
    },
  });
}

async function print(record: AuditRecord, io: CliIo): Promise<void> {
  if (io.stdout.write(text(record, io))) return;
  await new Promise((resolve) => io.stdout.once('drain', resolve));
}

function text(record: AuditRecord, io: CliIo): string {
  return `${io.json ? recordJson(record) : recordRow(record)}\n`;
}
