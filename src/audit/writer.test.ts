import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { canonicalJson } from '../base/canonical-json.ts';
import type { AuditRecord } from './contract.ts';
import { acquireLock } from './lock.ts';
import { readAudit } from './reader.ts';
import { parseRecord } from './record.ts';
import { bundleWriter } from './testdata/bundle.ts';
import { verifyAudit } from './verify.ts';
import { openAudit } from './writer.ts';

let stateDir = '';
beforeEach(() => {
  stateDir = mkdtempSync(path.join(tmpdir(), 'glovebox-audit-test-'));
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

const logPath = (): string => path.join(stateDir, 'audit/audit.jsonl');
const hit = (
  value: number,
): { kind: 'limit.hit'; sandbox: string; data: { limit: string; value: number } } => ({
  kind: 'limit.hit',
  sandbox: 'sbx_a',
  data: { limit: 'pids', value },
});
async function records(): Promise<AuditRecord[]> {
  const all: AuditRecord[] = [];
  for await (const record of readAudit({ stateDir })) all.push(record);
  return all;
}

describe('one writer', () => {
  test('keeps the order of calls and chains the records', async () => {
    const audit = openAudit({ stateDir });
    await Promise.all([0, 1, 2, 3].map((value) => audit.write(hit(value))));
    await audit.write({ kind: 'run.end', data: { cause: 'exit', gone: undefined } });
    await audit.close();
    const all = await records();
    expect(all.map((record) => record.seq)).toEqual([0, 1, 2, 3, 4]);
    expect(all.map((record) => record.data['value'])).toEqual([0, 1, 2, 3, undefined]);
    expect(all[0]?.prev).toBe('0'.repeat(64));
    const report = await verifyAudit({ stateDir });
    expect(report).toMatchObject({ ok: true, records: 5, files: 1, problems: [], head: audit.head() });
  });

  test('every line is the canonical JSON of its record', async () => {
    const audit = openAudit({ stateDir });
    await audit.write({
      kind: 'run.command',
      sandbox: 'sbx_"x',
      data: { z: [1, { b: 1, a: 'ö' }], argv: ['a\nb'] },
    });
    await audit.close();
    const line = readFileSync(logPath(), 'utf8').trimEnd();
    expect(canonicalJson(JSON.parse(line))).toBe(line);
    expect(parseRecord(line)?.sandbox).toBe('sbx_"x');
  });

  test('is private', async () => {
    const audit = openAudit({ stateDir });
    await audit.write(hit(1));
    await audit.close();
    expect(statSync(logPath()).mode & 0o777).toBe(0o600);
    expect(statSync(path.join(stateDir, 'audit')).mode & 0o777).toBe(0o700);
  });

  test('gathers what may wait, and takes it along with what may not', async () => {
    const audit = openAudit({ stateDir });
    const waits = [audit.write(hit(0), 'soon'), audit.write(hit(1), 'soon')];
    await Promise.resolve();
    expect(existsSync(logPath())).toBe(false);
    await audit.write(hit(2));
    expect((await records()).map((record) => record.data['value'])).toEqual([0, 1, 2]);
    const late = audit.write(hit(3), 'soon');
    await late;
    const last = audit.write(hit(4), 'soon');
    await audit.close();
    await Promise.all([...waits, last]);
    expect((await records()).map((record) => record.data['value'])).toEqual([0, 1, 2, 3, 4]);
  });

  test('counts what a sandbox causes when the log does not keep up, and keeps everything else', async () => {
    const audit = openAudit({ stateDir });
    const data = { action: 'deny', host: 'a.example' };
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 10_000; i++) writes.push(audit.write({ kind: 'network.request', data }));
    for (let i = 0; i < 5; i++) writes.push(audit.write({ kind: 'network.request', sandbox: 'sbx_a', data }));
    writes.push(audit.write({ kind: 'network.summary', sandbox: 'sbx_a', data: {} }), audit.write(hit(1)));
    await Promise.all(writes);
    await audit.write({ kind: 'network.request', data });
    await audit.close();
    const all = (await records()).slice(10_000);
    expect(all.map((record) => record.kind)).toEqual([
      'audit.folded',
      'audit.folded',
      'limit.hit',
      'network.request',
    ]);
    expect(all[0]).toMatchObject({
      sandbox: 'sbx_a',
      data: { of: 'network.request', count: 5, denied: 5, until: expect.stringMatching(/Z$/) },
    });
    expect((await verifyAudit({ stateDir })).ok).toBe(true);
  });

  test('leaves no lock behind and refuses events after close', async () => {
    const audit = openAudit({ stateDir });
    await audit.write(hit(1));
    await audit.close();
    expect(readdirSync(path.join(stateDir, 'audit'))).toEqual(['audit.jsonl']);
    await expect(audit.write(hit(2))).rejects.toMatchObject({ code: 'E_AUDIT_UNWRITABLE' });
  });

  test('goes on where another writer stopped', async () => {
    const a = openAudit({ stateDir });
    const b = openAudit({ stateDir });
    for (let i = 0; i < 6; i++) await (i % 2 === 0 ? a : b).write(hit(i));
    await Promise.all([a.close(), b.close()]);
    expect((await records()).map((record) => record.data['value'])).toEqual([0, 1, 2, 3, 4, 5]);
    expect((await verifyAudit({ stateDir })).ok).toBe(true);
  });

  test('works in a directory whose name is longer than a socket address', async () => {
    const deep = path.join(stateDir, 'd'.repeat(120), 'e'.repeat(120));
    mkdirSync(deep, { recursive: true });
    const audit = openAudit({ stateDir: deep });
    await audit.write(hit(1));
    await audit.close();
    expect(await verifyAudit({ stateDir: deep })).toMatchObject({ ok: true, records: 1 });
  });
});

describe('rotation', () => {
  test('the chain goes on across files', async () => {
    const audit = openAudit({ stateDir, maxFileBytes: 2000 });
    for (let i = 0; i < 40; i++) await audit.write(hit(i));
    await audit.close();
    const files = readdirSync(path.join(stateDir, 'audit'));
    expect(files.length).toBeGreaterThan(3);
    const all = await records();
    expect(all.filter((record) => record.kind === 'limit.hit').map((record) => record.data['value'])).toEqual(
      Array.from({ length: 40 }, (_, i) => i),
    );
    const rotated = all.find((record) => record.kind === 'audit.rotated');
    expect(rotated?.data).toMatchObject({ previous: 'audit-000000000000.jsonl' });
    expect(await verifyAudit({ stateDir })).toMatchObject({ ok: true, files: files.length });
  });

  test('a writer that died after the rename is continued', async () => {
    const audit = openAudit({ stateDir });
    await audit.write(hit(0));
    await audit.write(hit(1));
    renameSync(logPath(), path.join(stateDir, 'audit/audit-000000000000.jsonl'));
    const next = openAudit({ stateDir });
    await next.write(hit(2));
    await Promise.all([audit.close(), next.close()]);
    expect((await records()).map((record) => record.kind)).toEqual([
      'limit.hit',
      'limit.hit',
      'audit.rotated',
      'limit.hit',
    ]);
    expect((await verifyAudit({ stateDir })).ok).toBe(true);
  });
});

describe('a torn tail', () => {
  test('after a cut at any byte of the last record, the rest is kept aside and the chain goes on', async () => {
    const audit = openAudit({ stateDir });
    for (let i = 0; i < 3; i++) await audit.write(hit(i));
    await audit.close();
    const whole = readFileSync(logPath());
    const lastLine = whole.lastIndexOf(0x0a, whole.length - 2) + 1;
    for (let cut = lastLine + 1; cut < whole.length; cut++) {
      writeFileSync(logPath(), whole.subarray(0, cut));
      const next = openAudit({ stateDir });
      await next.write(hit(99));
      await next.close();
      const all = await records();
      expect(
        all.map((record) => record.kind),
        `cut at ${cut}`,
      ).toEqual(['limit.hit', 'limit.hit', 'audit.repaired', 'limit.hit']);
      const repaired = all[2]?.data ?? {};
      expect(repaired).toMatchObject({ offset: lastLine, bytes: cut - lastLine });
      const movedTo = path.join(stateDir, 'audit', String(repaired['movedTo']));
      expect(readFileSync(movedTo)).toEqual(whole.subarray(lastLine, cut));
      expect(statSync(movedTo).mode & 0o777).toBe(0o600);
      rmSync(movedTo);
      const report = await verifyAudit({ stateDir });
      expect(report.problems, `cut at ${cut}`).toEqual([]);
    }
  });

  test.each([
    ['zeros, as after a power failure', Buffer.alloc(5000)],
    ['a line that is no record', Buffer.from('{"hello":1}\n')],
    ['a long line without end', Buffer.from('x'.repeat(100_000))],
    ['bytes that are no UTF-8', Buffer.from([0xff, 0xfe, 0x0a])],
  ])('%s', async (_, garbage) => {
    const audit = openAudit({ stateDir });
    await audit.write(hit(0));
    appendFileSync(logPath(), garbage);
    await audit.write(hit(1));
    await audit.close();
    const all = await records();
    expect(all.map((record) => record.kind)).toEqual(['limit.hit', 'audit.repaired', 'limit.hit']);
    expect(all[1]?.data['bytes']).toBe(garbage.length);
    expect((await verifyAudit({ stateDir })).ok).toBe(true);
  });

  test('a file that is torn from its first byte', async () => {
    mkdirSync(path.join(stateDir, 'audit'), { mode: 0o700 });
    writeFileSync(logPath(), 'garbage');
    const audit = openAudit({ stateDir });
    await audit.write(hit(0));
    await audit.close();
    expect((await records()).map((record) => record.kind)).toEqual(['audit.repaired', 'limit.hit']);
  });
});

describe('fails closed', () => {
  test('on a symlink in place of the log', async () => {
    mkdirSync(path.join(stateDir, 'audit'), { mode: 0o700 });
    symlinkSync('/dev/full', logPath());
    const audit = openAudit({ stateDir });
    await expect(audit.write(hit(0))).rejects.toMatchObject({
      code: 'E_AUDIT_UNWRITABLE',
    });
    await expect(audit.close()).rejects.toMatchObject({ code: 'E_AUDIT_UNWRITABLE' });
  });

  test.skipIf(process.getuid?.() !== 0)(
    'on a full disk, and goes on when there is room (needs root, to mount one)',
    async () => {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'none', stateDir]);
      try {
        writeFileSync(path.join(stateDir, 'filler'), Buffer.alloc(32 * 1024));
        const audit = openAudit({ stateDir });
        const fill = async (): Promise<void> => {
          for (let i = 0; i < 1000; i++) await audit.write({ ...hit(i), data: { text: 'x'.repeat(3000) } });
        };
        await expect(fill()).rejects.toMatchObject({
          code: 'E_AUDIT_UNWRITABLE',
          why: 'the disk is full (ENOSPC)',
        });
        const full = await verifyAudit({ stateDir });
        expect(full.problems, 'the part of a record that still fitted was taken back').toEqual([]);
        rmSync(path.join(stateDir, 'filler'));
        await audit.write(hit(-1));
        expect(await verifyAudit({ stateDir })).toMatchObject({ ok: true, records: full.records + 1 });
      } finally {
        execFileSync('umount', [stateDir]);
      }
    },
  );

  test('when the state directory cannot be made', async () => {
    writeFileSync(path.join(stateDir, 'file'), '');
    const audit = openAudit({ stateDir: path.join(stateDir, 'file') });
    await expect(audit.write(hit(0))).rejects.toMatchObject({ code: 'E_AUDIT_UNWRITABLE', exitCode: 125 });
    await expect(audit.flush()).rejects.toMatchObject({ code: 'E_AUDIT_UNWRITABLE' });
  });

  test('when another process keeps the lock', async () => {
    mkdirSync(path.join(stateDir, 'audit'), { mode: 0o700 });
    const lock = await acquireLock(path.join(stateDir, 'audit'));
    const audit = openAudit({ stateDir, lockMs: 100 });
    await expect(audit.write(hit(0))).rejects.toThrow(/stays locked/);
    lock.release();
    await audit.write(hit(1));
    expect((await records()).length).toBe(1);
  });

  test('a directory that others may write is closed to them first', async () => {
    mkdirSync(path.join(stateDir, 'audit'));
    chmodSync(path.join(stateDir, 'audit'), 0o777);
    const audit = openAudit({ stateDir });
    await audit.write(hit(0));
    await audit.close();
    expect(statSync(path.join(stateDir, 'audit')).mode & 0o777).toBe(0o700);
  });
});

describe('many processes', () => {
  let program = '';
  let bundleDir = '';
  beforeAll(async () => {
    ({ dir: bundleDir, program } = await bundleWriter());
  });
  afterAll(() => rmSync(bundleDir, { recursive: true, force: true }));

  const start = (...args: readonly string[]): ReturnType<typeof spawn> =>
    spawn(process.execPath, [program, stateDir, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = (child: ReturnType<typeof spawn>): Promise<number | null> =>
    new Promise((resolve) => {
      child.stdout?.resume();
      child.on('exit', resolve);
    });

  /** Resolves at the first record of a child. */
  const hasWritten = (child: ReturnType<typeof spawn>): Promise<void> =>
    new Promise((resolve) => child.stdout?.once('data', () => resolve()));

  test('forty at once, twenty records each: one whole chain, rotated meanwhile', async () => {
    const codes = await Promise.all(Array.from({ length: 40 }, () => ended(start('20', '100000'))));
    expect(codes).toEqual(Array.from({ length: 40 }, () => 0));
    const all = (await records()).filter((record) => record.kind === 'limit.hit');
    expect(all.length).toBe(800);
    for (const sandbox of new Set(all.map((record) => record.sandbox))) {
      const values = all.filter((record) => record.sandbox === sandbox).map((record) => record.data['value']);
      expect(values).toEqual(Array.from({ length: 20 }, (_, i) => i));
    }
    const report = await verifyAudit({ stateDir });
    expect(report).toMatchObject({ ok: true, problems: [] });
    expect(report.files).toBeGreaterThan(1);
  });

  test('writers killed at any moment leave a whole chain and no lock', async () => {
    let killed = 0;
    for (let round = 0; round < 15; round++) {
      const children = [start('0', '60000'), start('0', '60000'), start('0', '60000')];
      const exits = children.map(ended);
      await Promise.all(children.map(hasWritten));
      await new Promise((resolve) => setTimeout(resolve, round * 3));
      for (const child of children) if (child.kill('SIGKILL')) killed++;
      await Promise.all(exits);
    }
    expect(killed).toBe(45);
    const audit = openAudit({ stateDir, lockMs: 2000 });
    await audit.write(hit(-1));
    await audit.close();
    const report = await verifyAudit({ stateDir });
    expect(report.problems).toEqual([]);
    expect(report.records).toBeGreaterThanOrEqual(46);
    const locks = readdirSync(path.join(stateDir, 'audit')).filter((name) => name.startsWith('lock-'));
    expect(locks.length, 'the next holder removed what the dead left').toBe(0);
    expect(existsSync(logPath())).toBe(true);
  });

  test('a stopped holder is waited for, and goes on', async () => {
    const child = start('0');
    const exit = ended(child);
    await hasWritten(child);
    child.kill('SIGSTOP');
    const audit = openAudit({ stateDir, lockMs: 5000 });
    const written = audit.write(hit(-1));
    setTimeout(() => child.kill('SIGCONT'), 200);
    await written;
    child.kill('SIGKILL');
    await exit;
    await audit.close();
    expect((await verifyAudit({ stateDir })).problems).toEqual([]);
  });
});

test('a log that was emptied by hand starts over, which an earlier head shows', async () => {
  const audit = openAudit({ stateDir });
  await audit.write(hit(0));
  await audit.write(hit(1));
  const head = audit.head();
  truncateSync(logPath(), 0);
  await audit.write(hit(2));
  await audit.close();
  expect((await verifyAudit({ stateDir })).ok).toBe(true);
  const report = await verifyAudit({ stateDir, expectHead: head });
  expect(report.problems[0]?.what).toContain('was cut off');
});
