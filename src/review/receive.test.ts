import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TREE_RECORD } from '../agent/numbers.ts';
import { filePiece, linkTarget, TreeDecoder, treeRecord } from '../agent/tree-stream.ts';
import { CAPS } from '../base/caps.ts';
import { TreeReceiver } from './receive.ts';
import { roomOf, sendTrees } from './send.ts';

const CANARY = 'of the host';

const BAD_NAMES = ['../canary', '..', '.', '', 'a/b', '/etc/passwd', 'a\0b', 'x'.repeat(256)];

/** A copy that is received into, in a directory with something beside it that nobody may touch. */
class Site implements Disposable {
  readonly base: string = mkdtempSync('/var/tmp/gbx-receive-');
  readonly root: string = path.join(this.base, 'copy');
  readonly receiver: TreeReceiver;
  readonly #decoder = new TreeDecoder();

  constructor() {
    mkdirSync(this.root, { mode: 0o700 });
    mkdirSync(path.join(this.base, 'spool'));
    mkdirSync(path.join(this.base, 'host'));
    writeFileSync(path.join(this.base, 'host/canary'), CANARY);
    this.receiver = new TreeReceiver(this.root, path.join(this.base, 'spool'));
  }

  at(name: string): string {
    return path.join(this.root, name);
  }

  /** As a machine sends it. */
  take(...bytes: readonly Uint8Array[]): void {
    for (const event of this.#decoder.push(Buffer.concat(bytes))) this.receiver.take(event);
  }

  /** A whole stream. */
  stream(...bytes: readonly Uint8Array[]): void {
    this.take(treeRecord('begin'), ...bytes, treeRecord('end'));
  }

  names(): readonly string[] {
    return readdirSync(this.root, { recursive: true, encoding: 'utf8' }).sort();
  }

  expectHostUntouched(): void {
    expect(readdirSync(this.base).sort()).toEqual(['copy', 'host', 'spool']);
    expect(readdirSync(path.join(this.base, 'host'))).toEqual(['canary']);
    expect(readFileSync(path.join(this.base, 'host/canary'), 'utf8')).toBe(CANARY);
  }

  [Symbol.dispose](): void {
    this.receiver.dispose();
    rmSync(this.base, { recursive: true, force: true });
  }
}

const name = (text: string): Buffer => Buffer.from(text, 'latin1');
const dir = (text: string, mode = 0o755): Buffer => treeRecord('dir', name(text), { mode });
const up = treeRecord('up');
const link = (text: string, target: string): Buffer =>
  Buffer.concat([treeRecord('link', name(text)), linkTarget(name(target))]);
const file = (text: string, content: string, about = { mode: 0o644, mtimeNs: 0n }): Buffer =>
  Buffer.concat([
    treeRecord('file', name(text), about),
    ...(content === '' ? [] : [filePiece(name(content))]),
    filePiece(Buffer.alloc(0)),
  ]);
const same = (text: string): Buffer => treeRecord('same', name(text));

/** A record as only a machine that lies sends it. */
function forged(kind: number, bytes: Buffer, more: { mode?: number; length?: number } = {}): Buffer {
  const head = Buffer.alloc(14);
  head.writeUInt8(kind, 0);
  head.writeUInt16LE(more.mode ?? 0o644, 2);
  head.writeUInt16LE(more.length ?? bytes.length, 12);
  return Buffer.concat([head, bytes]);
}

describe('a tree that a machine sends', () => {
  it('is what was sent in, with modes, times and links', async () => {
    using site = new Site();
    const from = path.join(site.base, 'host/tree');
    mkdirSync(path.join(from, 'deep/er'), { recursive: true });
    writeFileSync(path.join(from, 'deep/er/run'), 'x'.repeat(150_000));
    chmodSync(path.join(from, 'deep/er/run'), 0o751);
    utimesSync(path.join(from, 'deep/er/run'), 1000, 1_234_567_890.5);
    writeFileSync(path.join(from, 'empty'), '');
    writeFileSync(Buffer.concat([name(`${from}/`), Buffer.from([0xff, 0x0a, 0x41])]), 'bytes');
    writeFileSync(path.join(from, 'secret'), CANARY);
    symlinkSync('deep/er/run', path.join(from, 'link'));
    const tree = { source: from, name: '0', withheld: (at: string) => at.endsWith('/secret') };
    expect(roomOf([tree])).toBeGreaterThan(150_000);
    const sent: Buffer[] = [];
    for await (const bytes of sendTrees([tree])) sent.push(bytes);
    // The top of the stream is the tree's number; what comes back is what is in it.
    const whole = Buffer.concat(sent);
    site.stream(whole.subarray(15, whole.length - 28));
    const run = statSync(site.at('deep/er/run'));
    expect([run.mode & 0o777, run.size, run.mtimeMs]).toEqual([0o751, 150_000, 1_234_567_890_500]);
    expect(readlinkSync(site.at('link'))).toBe('deep/er/run');
    const names = readdirSync(site.root, { encoding: 'buffer' }).map((found) => found.toString('latin1'));
    expect(names.sort()).toEqual(['deep', 'empty', 'link', '\u00ff\nA']);
    rmSync(from, { recursive: true });
    site.expectHostUntouched();
  });

  it('replaces what it names, and takes away what it does not', () => {
    using site = new Site();
    site.stream(dir('d'), file('f', 'one'), file('gone', 'x'), up, link('l', 'd/f'), file('kept', 'kept'));
    site.stream(
      dir('d'),
      file('f', 'two'),
      up,
      dir('l'),
      file('in', '3'),
      up,
      same('kept'),
      dir('kept2'),
      up,
    );
    expect(site.receiver.needsAll()).toBe(true);
    site.stream(dir('d'), file('f', 'two'), up, dir('l'), file('in', '3'), up, file('kept', 'kept'));
    expect(site.names()).toEqual(['d', 'd/f', 'kept', 'l', 'l/in']);
    expect(readFileSync(site.at('d/f'), 'utf8')).toBe('two');
    expect(site.receiver.needsAll()).toBe(false);
  });

  it('asks for all of it when something is said to be as it was that is not there', () => {
    using site = new Site();
    mkdirSync(site.at('d'));
    writeFileSync(site.at('d/f'), 'as it was copied');
    site.stream(dir('d'), same('f'), up);
    expect(site.receiver.needsAll()).toBe(false);
    // The directory was renamed, looked at, and renamed back.
    site.stream(dir('e'), file('f', 'as it was copied'), up);
    site.stream(dir('d'), same('f'), up);
    expect(site.receiver.needsAll()).toBe(true);
  });

  it.each(BAD_NAMES)('ends it for the name %j', (bad) => {
    using site = new Site();
    for (const kind of [
      TREE_RECORD.dir,
      TREE_RECORD.file,
      TREE_RECORD.link,
      TREE_RECORD.same,
      TREE_RECORD.other,
    ]) {
      const target = kind === TREE_RECORD.link ? linkTarget(name('x')) : Buffer.alloc(0);
      const bytes = Buffer.concat([treeRecord('begin'), forged(kind, name(bad)), target]);
      expect(() => [...new TreeDecoder().push(bytes)]).toThrow(/E_PROTOCOL|not its protocol/);
    }
    site.expectHostUntouched();
  });

  it.each([
    ['a directory left that was not entered', [up]],
    ['an end within a directory', [dir('d'), treeRecord('end')]],
    ['a beginning within a stream', [treeRecord('begin')]],
    ['an unknown record', [forged(77, name('x'))]],
    ['a name at the end', [forged(TREE_RECORD.end, name('x'))]],
    ['a piece that is too long', [treeRecord('file', name('f')), Buffer.from([0xff, 0xff, 0xff, 0x7f])]],
    ['a link to nothing', [treeRecord('link', name('l')), Buffer.from([0, 0])]],
    ['a link that is too long', [treeRecord('link', name('l')), Buffer.from([0xff, 0xff])]],
    ['directories without end', Array.from({ length: 200 }, () => dir('d'))],
  ])('ends it for %s', (_, bytes) => {
    using site = new Site();
    expect(() => site.take(treeRecord('begin'), ...bytes)).toThrow(/not its protocol/);
    site.expectHostUntouched();
  });

  it('never goes through a link, whatever it was a moment ago', () => {
    using site = new Site();
    const outside = path.join(site.base, 'host');
    site.stream(link('d', outside), link('f', path.join(outside, 'canary')));
    site.stream(dir('d'), file('canary', 'replaced'), up, file('f', 'replaced'));
    site.expectHostUntouched();
    expect(lstatSync(site.at('d')).isDirectory()).toBe(true);
    expect(readFileSync(site.at('f'), 'utf8')).toBe('replaced');
    // One name twice: the later one counts.
    site.stream(link('d', outside), dir('d'), file('canary', 'again'), up, link('d', outside));
    site.stream(link('d', outside));
    site.expectHostUntouched();
    // And what goes away is the link.
    site.stream();
    expect(site.names()).toEqual([]);
    site.expectHostUntouched();
  });

  it('refuses set-id bits and what is no file, and leaves no such name', () => {
    using site = new Site();
    writeFileSync(site.at('pipe'), 'was a file');
    const setid = forged(TREE_RECORD.file, name('s'), { mode: 0o4755 });
    const pipe = forged(TREE_RECORD.other, name('pipe'));
    site.stream(setid, filePiece(name('x')), filePiece(Buffer.alloc(0)), pipe, file('ok', ''));
    expect(site.names()).toEqual(['ok']);
    expect([...site.receiver.refused.keys()]).toEqual(['s', 'pipe']);
  });

  it('keeps what was complete of one that breaks off', () => {
    using site = new Site();
    writeFileSync(site.at('old'), 'old');
    writeFileSync(site.at('half'), 'before');
    const half = Buffer.concat([treeRecord('file', name('half')), filePiece(name('aft'))]);
    site.take(treeRecord('begin'), file('new', 'new'), half);
    expect(readFileSync(site.at('new'), 'utf8')).toBe('new');
    expect(readFileSync(site.at('half'), 'utf8')).toBe('before');
    expect(readFileSync(site.at('old'), 'utf8')).toBe('old');
  });

  it('takes so many entries and no more, and then takes nothing away', () => {
    using site = new Site();
    writeFileSync(site.at('old'), 'old');
    const many = Array.from({ length: CAPS.reviewEntries + 1 }, () => same('old'));
    site.stream(Buffer.concat(many), file('late', 'x'));
    expect(site.receiver.truncated).toBe(true);
    expect(site.names()).toEqual(['old']);
    const endless = Buffer.concat(Array.from({ length: 10_000 }, () => same('x')));
    site.take(treeRecord('begin'));
    expect(() => {
      for (;;) site.take(endless);
    }).toThrow(/no end to the files/);
  });

  it('holds more directories in each other than a review may, and takes none of them', () => {
    using site = new Site();
    const deep = Array.from({ length: 120 }, (_, i) => dir(`d${i}`));
    site.stream(...deep, file('f', 'x'), ...deep.map(() => up), file('after', 'x'));
    expect(site.receiver.refused.size).toBe(1);
    expect(readdirSync(site.root)).toEqual(['after', 'd0']);
  });

  it('is taken apart alike wherever it is cut', () => {
    const bytes = Buffer.concat([
      ...[treeRecord('begin'), dir('d'), file('f', 'abc'), link('l', 'x'), up, same('s'), treeRecord('end')],
    ]);
    const join = (events: Iterable<{ readonly kind: string }>): string =>
      [...events]
        .map(({ kind }) => kind)
        .join(' ')
        .replaceAll(/(content ?)+/g, 'content ');
    const whole = join(new TreeDecoder().push(bytes));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: bytes.length }), { maxLength: 20 }), (cuts) => {
        const decoder = new TreeDecoder();
        const ends = [...new Set([...cuts, bytes.length])].sort((a, b) => a - b);
        const events = ends.flatMap((end, i) => [...decoder.push(bytes.subarray(ends[i - 1] ?? 0, end))]);
        expect(join(events)).toBe(whole);
      }),
    );
  });

  it('does nothing outside of its directory, whatever the bytes are', () => {
    const part = fc.oneof(
      fc.constantFrom('d', 'f', 'l', '..', 'host', 'canary').map((text) => dir(text)),
      fc.constantFrom('d', 'f', 'l', 'canary').map((text) => file(text, 'hostile')),
      fc
        .tuple(fc.constantFrom('d', 'f', 'l'), fc.constantFrom('..', '../host', '/', '../host/canary'))
        .map(([at, to]) => link(at, to)),
      fc.constantFrom(up, same('f'), treeRecord('end'), treeRecord('begin')),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
        using site = new Site();
        try {
          site.take(treeRecord('begin'), ...parts);
        } catch {
          // Refused, or a name that this file system does not take.
        }
        site.expectHostUntouched();
      }),
      { numRuns: 300 },
    );
  });

  it('is refused when there is no end to it', () => {
    const decoder = new TreeDecoder();
    const noise = randomBytes(200_000);
    noise.writeUInt8(TREE_RECORD.begin, 0);
    expect(() => [...decoder.push(noise)]).toThrow(/not its protocol/);
  });
});
