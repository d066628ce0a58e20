import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createScanner } from '../../src/content/dlp/scanner.ts';
import type { ScannerOptions } from '../../src/content/dlp/scanner.ts';
import { createThreadedScanner, INLINE_BYTES, ScanThread } from '../../src/content/dlp/threaded.ts';
import type { DlpPolicy } from '../../src/policy/contract.ts';
import { buildRequest, fixtureStrings, stepsOf } from '../../src/content/dlp/cases.fixture.ts';
import { loadCases } from './cases/load.ts';

const strings = fixtureStrings();
const SECRET = strings.KNOWN_SECRET ?? '';
/** Put together here, so that nobody takes this file for a leak. */
const PLACEHOLDER = ['ghp', 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6'].join('_');
const policy: DlpPolicy = {
  action: 'deny',
  patterns: true,
  custom: [],
  canaries: [strings.CANARY ?? ''],
  decodeDepth: 2,
  maxInspectBytes: 2_000_000,
  uninspectable: 'deny',
  names: true,
  everywhere: true,
};

function optionsOf(changes: Partial<DlpPolicy> = {}): ScannerOptions {
  return {
    policy: { ...policy, ...changes },
    secrets: () => [{ name: 'known', bytes: Buffer.from(SECRET) }],
    placeholders: () => [{ text: PLACEHOLDER }],
    hashKey: Buffer.alloc(32, 7),
  };
}

let thread: ScanThread;
beforeAll(() => {
  thread = new ScanThread();
});
afterAll(() => thread.close());

/** Beyond what is looked into on the spot, and nothing that anybody looks for. */
const FILLER = Buffer.alloc(INLINE_BYTES + 1, 'plain words and nothing else, ');
const large = (...parts: readonly Uint8Array[]): Buffer => Buffer.concat([FILLER, ...parts]);

describe('the thread answers as the scanner on the spot', () => {
  const bodies = loadCases()
    .cases.filter((row) => row.layer === 'dlp')
    .flatMap((row) => stepsOf(row))
    .flatMap((step) => (step.op === 'http' && step.raw !== undefined ? [step.raw] : []))
    .map((raw) => buildRequest(raw, strings))
    .filter(({ body }) => body.length > 0);

  test('there are bodies in the case file', () => expect(bodies.length).toBeGreaterThan(20));

  test.each([
    ['deny', {}],
    ['allow', { uninspectable: 'allow' as const }],
    ['own patterns', { custom: [{ name: 'words', pattern: 'tracking-[0-9]+' }] }],
  ])('for every body of the case file, behind much else: %s', async (_what, changes) => {
    const inline = createScanner(optionsOf(changes));
    const threaded = createThreadedScanner(optionsOf(changes), thread);
    let found = 0;
    for (const { body, headers } of bodies) {
      const plain = headers.every((name) => name.toLowerCase() !== 'content-encoding');
      for (const sent of plain ? [body, large(Buffer.from(' '), body)] : [body]) {
        const expected = inline.body(sent, headers);
        if (expected !== undefined) found++;
        expect(await threaded.body(sent, headers)).toEqual(expected);
        expect(await threaded.message(sent)).toEqual(inline.message(sent));
      }
    }
    expect(found).toBeGreaterThan(20);
  });

  test('for bodies of any kind, as they are and packed', async () => {
    const inline = createScanner(optionsOf());
    const threaded = createThreadedScanner(optionsOf(), thread);
    const piece = fc.oneof(
      fc.constantFrom(
        SECRET,
        PLACEHOLDER,
        'AKIA',
        'eyJ',
        '%41',
        '\\u0041',
        'a b c d e f g h i ',
        '41 42 43 ',
        'PK\u0003\u0004',
      ),
      fc.constantFrom(Buffer.from(SECRET).toString('base64'), gzipSync(SECRET).toString('latin1')),
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    );
    const world = fc.record({
      parts: fc.array(piece, { maxLength: 12 }),
      size: fc.constantFrom(0, 1, INLINE_BYTES, 3 * INLINE_BYTES, 10 * INLINE_BYTES),
      noise: fc.boolean(),
      coding: fc.constantFrom('', 'gzip', 'br'),
      packed: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(world, async ({ parts, size, noise, coding, packed }) => {
        const filler = noise ? randomBytes(size) : Buffer.alloc(size, 'so it goes on, ');
        const plain = Buffer.concat([filler, Buffer.from(parts.join(' '), 'latin1')]);
        const body = packed ? gzipSync(plain) : plain;
        const headers = ['content-encoding', coding];
        expect(await threaded.body(body, headers)).toEqual(inline.body(body, headers));
        expect(await threaded.message(body)).toEqual(inline.message(body));
      }),
      { numRuns: 60 },
    );
  });

  test('a small body that unpacks to much is not looked into on the spot', () => {
    const threaded = createThreadedScanner(optionsOf(), thread);
    const bomb = gzipSync(Buffer.alloc(4 * INLINE_BYTES, 'x'));
    expect(bomb.length).toBeLessThan(INLINE_BYTES);
    for (const answer of [threaded.body(bomb, ['content-encoding', 'gzip']), threaded.message(bomb)])
      expect(answer).toBeInstanceOf(Promise);
    expect(threaded.body(Buffer.from(SECRET), [])).toMatchObject({ kind: 'secret:known' });
  });

  test('a secret that changes is told to the thread', async () => {
    let version = 1;
    const later = 'Zx81kq0QpLm27vTa93WnUe5RbYc4HsDg';
    const threaded = createThreadedScanner(
      {
        ...optionsOf(),
        secrets: () => [{ name: 'known', bytes: Buffer.from(version === 1 ? SECRET : later) }],
        secretsVersion: () => version,
      },
      thread,
    );
    const body = large(Buffer.from(later));
    expect(await threaded.body(body, [])).toBeUndefined();
    version = 2;
    expect(await threaded.body(body, [])).toMatchObject({ kind: 'secret:known' });
  });
});

describe('a thread that gives no verdict is a finding', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'glovebox-thread-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const program = (name: string, source: string): string => {
    const file = path.join(dir, `${name}.mjs`);
    writeFileSync(file, `import { parentPort } from 'node:worker_threads';\n${source}\n`);
    return file;
  };
  const scan = (own: ScanThread): unknown => createThreadedScanner(optionsOf(), own).body(large(), []);

  test.each([
    ['failed', 'dies', "parentPort.on('message', () => { throw new Error('no'); });"],
    ['failed', 'leaves', "parentPort.on('message', () => process.exit(0));"],
    ['failed', 'is none', 'this is no program'],
    [
      'failed',
      'needs too much',
      "parentPort.on('message', () => { const all = []; for (;;) all.push(new Array(1e4).fill(1.5)); });",
    ],
    ['time', 'goes round', "parentPort.on('message', () => { for (;;); });"],
  ])('%s: it %s', async (why, name, source) => {
    const own = new ScanThread({
      program: program(name, source),
      timeoutMs: why === 'time' ? 300 : 60_000,
      heapMib: 32,
    });
    // The one after it gets a thread of its own, and waits for nobody.
    expect(await Promise.all([scan(own), scan(own)])).toMatchObject([
      { kind: `unscanned:${why}`, place: 'body' },
      { kind: `unscanned:${why}`, place: 'body' },
    ]);
    await own.close();
  });

  test('there is no program', async () => {
    const own = new ScanThread({ program: path.join(dir, 'missing.mjs') });
    expect(await scan(own)).toMatchObject({ kind: 'unscanned:failed' });
    await own.close();
  });

  test('after a death the next is answered by a new thread', async () => {
    const source = `
      import { existsSync, writeFileSync } from 'node:fs';
      const mark = ${JSON.stringify(path.join(dir, 'mark'))};
      parentPort.on('message', () => {
        if (existsSync(mark)) return parentPort.postMessage({ finding: undefined });
        writeFileSync(mark, '');
        process.exit(1);
      });`;
    const own = new ScanThread({ program: program('once', source) });
    expect(await scan(own)).toMatchObject({ kind: 'unscanned:failed' });
    expect(await scan(own)).toBeUndefined();
    await own.close();
  });

  test('more than may wait, and whoever waits at the end', async () => {
    const own = new ScanThread({ program: program('stuck', "parentPort.on('message', () => undefined);") });
    const all = Array.from({ length: 70 }, () => scan(own));
    expect(await all.at(-1)).toMatchObject({ kind: 'unscanned:busy' });
    await own.close();
    const kinds = (await Promise.all(all)).map((finding) => (finding as { readonly kind: string }).kind);
    expect(kinds.filter((kind) => kind === 'unscanned:failed')).toHaveLength(65);
    expect(kinds.filter((kind) => kind === 'unscanned:busy')).toHaveLength(5);
    expect(await scan(own)).toMatchObject({ kind: 'unscanned:failed' });
  });
});
