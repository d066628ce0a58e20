import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { assemble, MAX_INSTRUCTIONS, type Ir } from './assemble.ts';
import { ALLOW, decide, KILL, low, refuse, type Check } from './check.ts';
import { interpret } from './interpreter.fixture.ts';
import { lower } from './lower.ts';

const codes = new Map([
  ['allow', 0x7fff_0000],
  ['kill', 0x8000_0000],
  ['EPERM', 0x5_0001],
  ['ENOSYS', 0x5_0026],
]);

test('encodes struct sock_filter, little-endian', () => {
  const program: Ir[] = [
    { op: 'load', offset: 4 },
    { op: 'jump', test: 'eq', value: 0xc000_003e, yes: 1 },
    { op: 'return', value: 0x8000_0000 },
    { op: 'label', id: 1 },
    { op: 'return', value: 0x7fff_0000 },
  ];
  expect(Buffer.from(assemble(program)).toString('hex')).toBe(
    '2000000004000000150001003e0000c00600000000000080060000000000ff7f',
  );
});

test.each([254, 255, 256, 257, 3000])('a jump over %i instructions arrives', (count) => {
  const filler: Ir[] = Array.from({ length: count }, () => ({ op: 'and', mask: 0xff }));
  for (const side of ['yes', 'no'] as const) {
    const jump: Ir = { op: 'jump', test: 'eq', value: 7, [side]: 1 };
    const tail: Ir[] = [
      { op: 'return', value: 1 },
      { op: 'label', id: 1 },
      { op: 'return', value: 2 },
    ];
    const program = assemble([{ op: 'load', offset: 0 }, jump, ...filler, ...tail]);
    const on = (nr: number): number => interpret(program, { arch: 0, nr, args: [] }).value;
    expect([on(7), on(8)]).toEqual(side === 'yes' ? [2, 1] : [1, 2]);
  }
});

test('refuses what the kernel would refuse', () => {
  const program: Ir[] = Array.from({ length: MAX_INSTRUCTIONS + 1 }, () => ({ op: 'return', value: 0 }));
  expect(() => assemble(program)).toThrow(/4097 instructions/);
  expect(() =>
    assemble([
      { op: 'label', id: 1 },
      { op: 'jump', test: 'eq', value: 0, yes: 1 },
    ]),
  ).toThrow(/ahead/);
});

test('overlapping spans do not compile', () => {
  const spans = [
    { from: 1, to: 3, check: ALLOW },
    { from: 3, to: 4, check: KILL },
  ];
  expect(() => lower({ kind: 'switch', word: low(0), spans, otherwise: KILL })).toThrow(/overlap at 3/);
});

const leaf = fc.constantFrom<Check>(ALLOW, KILL, refuse('EPERM'), refuse('ENOSYS'));
const word = fc.constantFrom(low(0), low(1), { of: 'nr' } as const);

/** Decision trees with up to 400 spans a level, so that long jumps occur. */
const { tree } = fc.letrec<{ tree: Check }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.record({
      kind: fc.constant('bits' as const),
      word,
      mask: fc.nat(0xffff),
      some: tie('tree'),
      none: tie('tree'),
    }),
    fc
      .tuple(
        word,
        fc.uniqueArray(fc.nat(2000), { maxLength: 400 }),
        fc.array(tie('tree'), { minLength: 1, maxLength: 4 }),
        tie('tree'),
      )
      .map(([chosen, starts, checks, otherwise]): Check => {
        const spans = starts.map((from, i) => ({
          from,
          to: from,
          check: checks[i % checks.length] ?? ALLOW,
        }));
        return { kind: 'switch', word: chosen, mask: 0xfff, spans, otherwise };
      }),
  ),
}));

test('property: a compiled tree decides like the tree', () => {
  fc.assert(
    fc.property(
      tree,
      fc.array(fc.tuple(fc.nat(2100), fc.nat(2100), fc.nat(2100)), { minLength: 20 }),
      (check, calls) => {
        const ir = lower(check);
        fc.pre(ir.length < MAX_INSTRUCTIONS / 2);
        const program = assemble(ir);
        for (const [nr, a, b] of calls) {
          const call = { arch: 0, nr, args: [BigInt(a), BigInt(b)] };
          const action = decide(check, call);
          const key = action.kind === 'errno' ? action.errno : action.kind;
          expect(interpret(program, call).value).toBe(codes.get(key));
        }
      },
    ),
    { numRuns: 150 },
  );
});
