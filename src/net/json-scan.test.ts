import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readEnvelopes } from './json-scan-envelope.ts';
import { parseJsonSelector, selectJson } from './json-scan-select.ts';
import type { JsonSelector } from './json-scan-select.ts';
import { NO_VISITOR, scanJson } from './json-scan.ts';

const MIB = 1_048_576;
const bytes = (text: string): Uint8Array => Buffer.from(text);

function selector(text: string): JsonSelector {
  const result = parseJsonSelector(text);
  if (!result.ok) throw new Error(result.why);
  return result.selector;
}

/** Texts of scalars and kinds of containers at one selector. */
function at(path: string, document: string): string[] {
  const found: string[] = [];
  const result = selectJson(bytes(document), [selector(path)], (_, value) => {
    found.push('text' in value ? value.text : value.kind);
  });
  if (!result.ok) throw new Error(result.why);
  return found;
}

function check(document: string | Uint8Array): string {
  const result = scanJson(typeof document === 'string' ? bytes(document) : document, undefined, NO_VISITOR);
  return result.ok ? '' : result.why;
}

describe('scanJson', () => {
  test.each([
    '{}',
    '[]',
    ' null ',
    '-0.5e+3',
    '"\\u00e9\\ud83d\\ude00\\/"',
    '[1,{"a":[]},"é"]',
    '{"a":1,"b":{"a":1}}',
  ])('reads %s', (document) => {
    expect(check(document)).toBe('');
  });

  test.each([
    ['', 'no value'],
    ['{', 'name'],
    ['{"a"}', 'without a value'],
    ['{"a":1,}', 'name'],
    ['[1,]', 'no value'],
    ['[1 2]', 'does not end'],
    ['{}{}', 'after its end'],
    ['nul', 'no value'],
    ['01', 'is no value'],
    ['1.', 'is no value'],
    ['+1', 'is no value'],
    ['NaN', 'is no value'],
    ["'a'", 'no value'],
    ['"a', 'does not end'],
    ['"a\nb"', 'control'],
    ['"\\x"', 'escape'],
    ['"\\u12g4"', 'escape'],
    ['"\\ud800"', 'surrogate'],
    ['"\\ud800\\u0041"', 'surrogate'],
    ['"\\udc00"', 'surrogate'],
    ['// c\n1', 'no value'],
    ['\ufeff1', 'byte order mark'],
    ['\u00a01', 'no value'],
    ['{"a":1,"a":2}', 'twice'],
    ['{"tools":1,"to\\u006fls":2}', 'twice'],
    ['{"\\u00e9":1,"é":2}', 'twice'],
    ['{"method\\u0000":"tools/call","method":"ping"}', 'NUL'],
    [`${'['.repeat(65)}${']'.repeat(65)}`, 'levels'],
  ])('refuses %s', (document, why) => {
    expect(check(document)).toContain(why);
  });

  test('refuses invalid UTF-8', () => {
    expect(check(Uint8Array.of(0x22, 0xc0, 0xaf, 0x22))).toContain('UTF-8');
    expect(check(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22))).toContain('UTF-8');
    expect(check(Buffer.from('{"a":1}', 'utf16le'))).not.toBe('');
  });

  test('64 levels are read', () => {
    expect(check(`${'['.repeat(64)}${']'.repeat(64)}`)).toBe('');
  });

  test('accepts what JSON.stringify writes, and nothing that JSON.parse refuses', () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: 'binary' }), (document) => {
        fc.pre(!document.includes('\\u0000'));
        expect(check(document)).toBe('');
      }),
    );
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"',
      '\\',
      'a',
      '1',
      '-',
      'e',
      'true',
      ' ',
      '\\u0041',
      '"a"',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const document = pieces.join('');
        if (check(document) === '') expect(() => JSON.parse(document)).not.toThrow();
      }),
      { numRuns: 2_000 },
    );
  });

  test('1 MiB of anything comes to an end', () => {
    for (const text of ['[', '{"a":', '"\\u0041', '1.', ' ', '"', '[[],', '\\'])
      expect(check(text.repeat(MIB / text.length))).not.toBe('');
    const members = Array.from({ length: 60_000 }, (_, i) => `"k${i}":0`).join(',');
    expect(check(`{${members}}`)).toBe('');
    expect(check(`{${Array.from({ length: 70_000 }, (_, i) => `"${i}":0`).join(',')}}`)).toContain('names');
  });
});

describe('selectors', () => {
  test.each([
    ['$.a.b', '{"a":{"b":1,"c":2},"b":3}', ['1']],
    ['$.a[*].b', '{"a":[{"b":"x"},{"c":1},{"b":null}]}', ['x', 'null']],
    ['$.a[*].b', '{"a":{"0":{"b":"x"}}}', ['x']],
    ['$..b', '{"b":{"b":[{"b":2}]}}', ['object', 'array', '2']],
    ['$..source.type', '{"m":[{"source":{"type":"url"}},{"type":"x"}]}', ['url']],
    ['$[*]', '[1,[2]]', ['1', 'array']],
    ['$.tools', '{"to\\u006fls":[]}', ['array']],
    ['$.tools', '{"Tools":1}', ['1']],
    ['$.a', '[{"a":1}]', []],
    ['$.a', '"a"', []],
  ])('%s in %s', (path, document, found) => {
    expect(at(path, document)).toEqual(found);
  });

  test.each(['', '$', 'a', '$.', '$.a[0]', '$[*', '$...a', "$['a']", '$.a b', `$${'.a'.repeat(129)}`])(
    'refuses %j',
    (text) => {
      expect(parseJsonSelector(text).ok).toBe(false);
    },
  );

  test('answers as a plain walk over JSON.parse does', () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 5 },
        fc.integer(),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 3 }),
      ),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        const deep = (node: unknown): number =>
          typeof node !== 'object' || node === null
            ? 0
            : Object.entries(node).reduce(
                (sum, [name, child]) => sum + (name === 'b' && !Array.isArray(node) ? 1 : 0) + deep(child),
                0,
              );
        expect(at('$..b', JSON.stringify(value))).toHaveLength(deep(value));
      }),
    );
  });

  test('nesting does not multiply the work', () => {
    const nested = `${'{"a":'.repeat(60)}1${'}'.repeat(60)}`;
    let hits = 0;
    const paths = ['$..a..a..a..a..a', '$..a..a', '$..a'].map(selector);
    expect(
      selectJson(bytes(`[${Array.from({ length: 2_000 }, () => nested).join(',')}]`), paths, () => hits++).ok,
    ).toBe(true);
    // Once for each place that is named, however many ways lead there.
    expect(hits).toBe(2_000 * (60 - 4 + (60 - 1) + 60));
  });
});

describe('envelopes', () => {
  const wanted = ['method', 'params', 'params.name'];
  const read = (document: string) => readEnvelopes(bytes(document), wanted);

  test('keeps what is wanted', () => {
    const result = read(
      '[{"method":"m","params":{"name":"n","arguments":{"method":"x","name":"y"}}},{"other":1}]',
    );
    expect(result).toMatchObject({ ok: true, batch: true });
    if (!result.ok) return;
    expect([...(result.envelopes[0]?.values.keys() ?? [])]).toEqual(['method', 'params', 'params.name']);
    expect(result.envelopes.map(({ others }) => others)).toEqual([false, true]);
  });

  test.each([
    '1',
    '"a"',
    '[1]',
    '[[]]',
    '{"Method":"x"}',
    '{"method":"a","METHOD":"b"}',
    '{"params":{"Name":"x"}}',
    '{"params.name":"x"}',
  ])('refuses %s', (document) => {
    expect(read(document).ok).toBe(false);
  });

  test('bounds a batch', () => {
    expect(read(`[${'{},'.repeat(99)}{}]`).ok).toBe(true);
    expect(read(`[${'{},'.repeat(100)}{}]`).ok).toBe(false);
  });
});
