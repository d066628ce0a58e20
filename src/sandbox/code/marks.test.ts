import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MarkedStream } from './marks.ts';

const ID = 'c0ffee00';

/** What a stream passes on when `text` comes in pieces of these sizes. */
function pushed(text: Buffer, sizes: readonly number[]): { passed: Buffer; found: boolean } {
  const pieces: Buffer[] = [];
  const stream = new MarkedStream((data) => pieces.push(Buffer.from(data)));
  let found = false;
  // `until` resolves later; the marker's own effect is what is looked at.
  void stream.until(ID);
  for (let at = 0, turn = 0; at < text.length; turn++) {
    const size = 1 + (sizes[turn % sizes.length] ?? 0);
    stream.push(text.subarray(at, at + size));
    at += size;
  }
  const before = Buffer.concat(pieces);
  stream.finish();
  found = Buffer.concat(pieces).length === before.length && !before.includes(`\0${ID}\0`);
  return { passed: Buffer.concat(pieces), found };
}

describe('the mark at the end of a cell', () => {
  it('is taken out wherever the pieces were cut, and nothing else is', () => {
    const odd = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.constantFrom('\0', `\0${ID}`, `\0${ID.slice(0, 4)}`, `\0\0${ID}x\0`),
    );
    fc.assert(
      fc.property(odd, odd, fc.array(fc.nat(12), { minLength: 1 }), (before, after, sizes) => {
        const text = Buffer.concat([Buffer.from(before), Buffer.from(`\0${ID}\0`), Buffer.from(after)]);
        const at = text.indexOf(`\0${ID}\0`);
        const expected = Buffer.concat([text.subarray(0, at), text.subarray(at + ID.length + 2)]);
        expect(pushed(text, sizes).passed).toEqual(expected);
      }),
    );
  });

  it('what only looked like its beginning is passed on at the end', () => {
    expect(pushed(Buffer.from(`out\0${ID}`), [3]).passed.toString()).toBe(`out\0${ID}`);
  });

  it('resolves once it has come', async () => {
    const stream = new MarkedStream(() => undefined);
    const found = stream.until(ID);
    stream.push(Buffer.from(`\0${ID}\0`));
    await expect(found).resolves.toBeUndefined();
  });
});
