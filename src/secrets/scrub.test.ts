import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { secretVariants } from '../net/secret-variants.ts';
import { ReplyScrubber, ScrubTable } from './scrub.ts';

const SECRET = Buffer.from('s3cr3t/"Value+with%odd bytes');
const PLACEHOLDER = 'gbx_ABCDEFGHIJKLMNOPQRSTUVWX';
const table = new ScrubTable([{ secret: SECRET, placeholder: PLACEHOLDER }]);

function scrub(chunks: readonly Buffer[], scrubTable = table): string {
  const scrubber = new ReplyScrubber(scrubTable);
  return Buffer.concat([...chunks.map((chunk) => scrubber.update(chunk)), scrubber.end()]).toString('latin1');
}

function cut(data: Buffer, at: readonly number[]): Buffer[] {
  const marks = [0, ...at.map((n) => n % (data.length + 1)).sort((a, b) => a - b), data.length];
  return marks.slice(1).map((end, i) => data.subarray(marks[i], end));
}

describe('ReplyScrubber', () => {
  it.each(secretVariants(SECRET))(
    'takes out $spelling wherever the chunks end, and keeps the length',
    ({ bytes }) => {
      const data = Buffer.concat([Buffer.from('before '), bytes, Buffer.from(' after')]);
      for (let at = 0; at <= data.length; at++) {
        const out = scrub([data.subarray(0, at), data.subarray(at)]);
        expect(out).toHaveLength(data.length);
        expect(out.startsWith('before ') && out.endsWith(' after')).toBe(true);
        expect(out).not.toContain(Buffer.from(bytes).toString('latin1'));
      }
    },
  );

  it('puts the placeholder in the same spelling where it is as long, else says so', () => {
    expect(PLACEHOLDER).toHaveLength(SECRET.length);
    expect(scrub([SECRET])).toBe(PLACEHOLDER);
    expect(scrub([Buffer.from(SECRET.toString('hex'))])).toBe(Buffer.from(PLACEHOLDER).toString('hex'));
    expect(scrub([Buffer.from(JSON.stringify(SECRET.toString()))])).toMatch(/^"\[redacted\]\*+"$/);
  });

  it('does not depend on where chunks end', () => {
    const piece = fc.oneof(
      fc.string({ maxLength: 12 }).map((text) => Buffer.from(text)),
      fc.constantFrom(...secretVariants(SECRET).map(({ bytes }) => Buffer.from(bytes))),
      fc.nat(SECRET.length).map((n) => SECRET.subarray(0, n)),
    );
    const inputs = [fc.array(piece, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 8 })] as const;
    fc.assert(
      fc.property(...inputs, (pieces, at) => {
        const data = Buffer.concat(pieces);
        const out = scrub(cut(data, at));
        expect(out).toHaveLength(data.length);
        for (const { bytes } of secretVariants(SECRET))
          expect(out).not.toContain(Buffer.from(bytes).toString('latin1'));
      }),
    );
  });

  it('takes overlapping secrets out whole', () => {
    const two = new ScrubTable([
      { secret: Buffer.from('abcdefgh'), placeholder: 'x' },
      { secret: Buffer.from('efghijklmnop'), placeholder: 'y' },
      { secret: Buffer.from('aaaaaaaa'), placeholder: 'z' },
    ]);
    const data = Buffer.from('-abcdefghijklmnop-aaaaaaaaaaaaaaaaaaaaaaaaaaa-');
    const bytewise = scrub(
      Array.from(data, (byte) => Buffer.from([byte])),
      two,
    );
    expect(bytewise).toMatch(/^-\*{16}-\*{27}-$/);
    expect(scrub([data], two)).toBe(bytewise);
  });

  it('does not hold back ordinary text', () => {
    const scrubber = new ReplyScrubber(table);
    expect(Buffer.from(scrubber.update(Buffer.from('data: {"text":"hello"}\n\n'))).toString()).toContain(
      'hello"}\n\n',
    );
    expect(scrubber.update(SECRET.subarray(0, 10))).toHaveLength(0);
    expect(scrubber.end()).toHaveLength(10);
  });

  it('scrubs headers, Location and Set-Cookie among them, and leaves framing alone', () => {
    const scrubber = new ReplyScrubber(table);
    const coded = encodeURIComponent(SECRET.toString());
    const headers = [
      'Location',
      `https://x/?t=${coded}`,
      'Set-Cookie',
      `a=${SECRET.toString()}`,
      'Content-Length',
      '12',
    ];
    const out = scrubber.headers(headers);
    expect(out.join()).not.toContain(coded);
    expect(out.join()).not.toContain(SECRET.toString());
    expect(out.slice(-2)).toEqual(['Content-Length', '12']);
  });
});
