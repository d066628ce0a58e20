import * as fc from 'fast-check';
import { mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readAudit } from './reader.ts';
import { verifyAudit } from './verify.ts';
import { openAudit } from './writer.ts';

let stateDir = '';
let lines: string[] = [];
const log = (): string => path.join(stateDir, 'audit/audit.jsonl');
const store = (changed: readonly string[]): void =>
  writeFileSync(log(), changed.map((line) => `${line}\n`).join(''));

beforeEach(async () => {
  stateDir = mkdtempSync(path.join(tmpdir(), 'glovebox-verify-'));
  const audit = openAudit({ stateDir });
  for (let i = 0; i < 12; i++) {
    await audit.write({
      kind: 'network.verdict',
      sandbox: `sbx_${i % 3}`,
      data: { action: 'deny', host: `h${i}.example`, port: 443 },
    });
  }
  await audit.close();
  lines = readFileSync(log(), 'utf8').trimEnd().split('\n');
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

const first = async (): Promise<string> => (await verifyAudit({ stateDir })).problems[0]?.what ?? 'none';

describe('finds', () => {
  test('nothing in an untouched log', async () => {
    expect(await first()).toBe('none');
  });

  test('an edited line', async () => {
    store(lines.map((line, i) => (i === 5 ? line.replace('h5', 'hX') : line)));
    const report = await verifyAudit({ stateDir });
    expect(report.problems).toEqual([
      {
        file: 'audit.jsonl',
        line: 7,
        seq: 6,
        what: 'does not continue the line before: one of the two was changed',
      },
    ]);
  });

  test('a removed line', async () => {
    store(lines.filter((_, i) => i !== 5));
    expect(await first()).toBe('has number 6: records 5 to 5 are missing');
  });

  test('an inserted line', async () => {
    store([...lines.slice(0, 5), lines[3] ?? '', ...lines.slice(5)]);
    expect(await first()).toBe('has number 3: record 5 was expected here');
  });

  test('a line that is no record, and a torn end', async () => {
    store([...lines, 'hello']);
    expect(await first()).toBe('is not a record');
    writeFileSync(log(), `${lines.join('\n')}\n{"at":`);
    expect(await first()).toBe('ends in an unfinished record');
  });

  test('a cut-off end and a replaced log, by a head noted earlier', async () => {
    const { head } = await verifyAudit({ stateDir });
    expect((await verifyAudit({ stateDir, expectHead: head })).ok).toBe(true);
    store(lines.slice(0, 8));
    expect((await verifyAudit({ stateDir })).ok).toBe(true);
    const cut = await verifyAudit({ stateDir, expectHead: head });
    expect(cut.problems[0]?.what).toBe('the log ends at record 7: what came up to 11 was cut off');
    unlinkSync(log());
    const audit = openAudit({ stateDir });
    for (let i = 0; i < 20; i++) await audit.write({ kind: 'limit.hit', data: { limit: 'pids' } });
    await audit.close();
    const replaced = await verifyAudit({ stateDir, expectHead: head });
    expect(replaced.problems[0]?.what).toContain('is not the one that was noted');
  });

  test('a missing file of several', async () => {
    const audit = openAudit({ stateDir, maxFileBytes: 1500 });
    for (let i = 0; i < 20; i++) await audit.write({ kind: 'limit.hit', data: { limit: 'pids', value: i } });
    await audit.close();
    expect((await verifyAudit({ stateDir })).ok).toBe(true);
    unlinkSync(path.join(stateDir, 'audit/audit-000000000000.jsonl'));
    expect(await first()).toMatch(/records 0 to \d+ are missing/);
  });
});

test('property: any change of any byte, line or order is found, with the head that was noted', async () => {
  const { head } = await verifyAudit({ stateDir });
  const whole = readFileSync(log());
  const edit = fc.oneof(
    fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255) }).map(({ at, byte }) => {
      const copy = Buffer.from(whole);
      copy[at] = byte;
      return copy;
    }),
    fc.nat(whole.length - 1).map((at) => whole.subarray(0, at)),
    fc.shuffledSubarray(lines).map((some) => Buffer.from(some.map((line) => `${line}\n`).join(''))),
    fc.tuple(fc.nat(lines.length), fc.constantFrom(...lines, '{}', '')).map(([at, line]) => {
      return Buffer.from(
        [...lines.slice(0, at), line, ...lines.slice(at)].map((text) => `${text}\n`).join(''),
      );
    }),
  );
  await fc.assert(
    fc.asyncProperty(edit, async (bytes) => {
      fc.pre(!bytes.equals(whole));
      writeFileSync(log(), bytes);
      expect((await verifyAudit({ stateDir, expectHead: head })).ok).toBe(false);
    }),
    { numRuns: 500 },
  );
});

test('the reader filters by sandbox, kind and time, and passes over what is no record', async () => {
  store([...lines.slice(0, 6), 'garbage', ...lines.slice(6)]);
  const read = async (filter: Parameters<typeof readAudit>[1]): Promise<number> => {
    let count = 0;
    for await (const record of readAudit({ stateDir }, filter)) count += record.v;
    return count;
  };
  expect(await read({})).toBe(12);
  expect(await read({ sandbox: 'sbx_1' })).toBe(4);
  expect(await read({ kinds: ['run.end'] })).toBe(0);
  expect(await read({ kinds: ['network.verdict'], sinceMs: 0 })).toBe(12);
  expect(await read({ sinceMs: Date.now() + 60_000 })).toBe(0);
  expect(await read({ sandbox: 'none' })).toBe(0);
});
