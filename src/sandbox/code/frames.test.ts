import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CODE_CAPS } from './caps.ts';
import { encodeKernelFrame, KernelFrames, type KernelFrame } from './frames.ts';

const plain = (frames: readonly KernelFrame[]): readonly string[] =>
  frames.map(({ kind, id, body }) => `${kind}/${id}/${body.toString()}`);

describe('frames of a kernel', () => {
  it('come out whole however the bytes were cut', () => {
    const bodies = fc.array(fc.string({ unit: 'binary', maxLength: 40 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(20), { minLength: 1 }), (texts, sizes) => {
        const sent = Buffer.concat(texts.map((text, at) => encodeKernelFrame('result', `a${at}`, text)));
        const reader = new KernelFrames();
        const got: KernelFrame[] = [];
        for (let at = 0, turn = 0; at < sent.length; turn++) {
          const size = 1 + (sizes[turn % sizes.length] ?? 0);
          got.push(...reader.push(sent.subarray(at, at + size)));
          at += size;
        }
        expect(plain(got)).toEqual(texts.map((text, at) => `result/a${at}/${Buffer.from(text).toString()}`));
      }),
    );
  });

  it.each([
    ['a head without an end', 'x'.repeat(CODE_CAPS.headBytes)],
    ['a name that is none', 'RESULT a1 3\nabc'],
    ['an id that is none', 'result ../x 3\nabc'],
    ['a negative length', 'result a1 -3\nabc'],
    ['a length beyond the cap', `result a1 ${CODE_CAPS.frameBytes + 1}\n`],
    ['nothing but a line', '\n'],
  ])('%s is refused', (_, text) => {
    expect(() => new KernelFrames().push(Buffer.from(text))).toThrow(
      expect.objectContaining({ code: 'E_CODE_KERNEL' }),
    );
  });

  it('any bytes either wait, come out, or are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        try {
          for (const frame of new KernelFrames().push(Buffer.from(bytes))) {
            expect(frame.body.length).toBeLessThanOrEqual(bytes.length);
          }
        } catch (error) {
          expect(error).toMatchObject({ code: 'E_CODE_KERNEL' });
        }
      }),
    );
  });
});
