import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readGraphqlBody, readGraphqlQuery } from './graphql-scan-request.ts';
import { GRAPHQL_CHARS_MAX, chooseOperation, readGraphql } from './graphql-scan.ts';

function operations(text: string) {
  const result = readGraphql(text);
  if (!result.ok) throw new Error(result.why);
  return result.operations;
}

function why(text: string): string {
  const result = readGraphql(text);
  return result.ok ? '' : result.why;
}

describe('readGraphql', () => {
  test.each([
    ['{ viewer { login } }', 'query', ['viewer']],
    ['query Q($a: [Int!]! = [1, -2.5e3] @d, $b: S) @x(y: {z: ENUM}) { a(b: $a) b }', 'query', ['a', 'b']],
    ['mutation { safe: deleteRepository(input: {id: "}"}) { id } }', 'mutation', ['deleteRepository']],
    ['subscription S { tick }', 'subscription', ['tick']],
    ['{ ... on Query { a ... @include(if: true) { b } } }', 'query', ['a', 'b']],
    ['query { ...F } fragment F on Query { a ...G } fragment G on Query { b ...F }', 'query', ['a', 'b']],
    ['{ a(s: """ } mutation { \\""" """) # } mutation {\n b }', 'query', ['a', 'b']],
    ['\ufeff,,{a}', 'query', ['a']],
    ['{ query mutation fragment on type }', 'query', ['query', 'mutation', 'fragment', 'on', 'type']],
    ['{ a { ... on X { deep } } }', 'query', ['a']],
    ['{ a(x: "\\u{1F600}\\u0041\\n") }', 'query', ['a']],
  ])('%s', (text, type, fields) => {
    expect(operations(text)).toMatchObject([{ type, fields }]);
  });

  test.each([
    ['', 'no operation'],
    ['fragment F on Q { a }', 'no operation'],
    ['{ }', 'no name'],
    ['{ a', 'no name'],
    ['{ a } }', 'no name'],
    ['{ a } { b }', 'told apart'],
    ['query A { a } query A { b }', 'told apart'],
    ['query A { a } { b }', 'told apart'],
    ['{ ...Missing }', 'not there'],
    ['{ a } fragment on on Q { a }', 'wrong name'],
    ['{ a } fragment F on Q { a } fragment F on Q { b }', 'wrong name'],
    ['type Query { a: Int }', 'definition'],
    ['extend type Query { a: Int }', 'definition'],
    ['"""description""" query { a }', 'no name'],
    ['{ a(b: 01) }', 'token'],
    ['{ a(b: 1x) }', 'token'],
    ['{ a(b: ) }', 'no value'],
    ['{ a(b: "x\ny") }', 'string'],
    ['{ a(b: "\\x") }', 'escape'],
    ['{ a(b: """x) }', 'block string'],
    ['{ a\u0000 }', 'token'],
    ['{ a # \u0001\n }', 'control'],
    ['{ \u00e9 }', 'token'],
    ['{ .. }', '"."'],
    ['{ a() }', 'no name'],
    ['query () { a }', '"$"'],
    ['{ ...on }', 'no name'],
    [`${'{a'.repeat(65)}${'}'.repeat(65)}`, 'levels'],
    [`{ a(b: ${'['.repeat(70)}${']'.repeat(70)}) }`, 'levels'],
    [`query($a: ${'['.repeat(70)}X${']'.repeat(70)}) { a }`, 'levels'],
    [`{ ${'a '.repeat(60_000)}}`, 'tokens'],
    [`{ ${' '.repeat(GRAPHQL_CHARS_MAX)}a }`, 'characters'],
  ])('refuses %s', (text, reason) => {
    expect(why(text)).toContain(reason);
  });

  test('many fragments that name each other cost nothing', () => {
    const all = Array.from({ length: 100 }, (_, i) => `...F${i}`).join(' ');
    const fragments = Array.from({ length: 100 }, (_, i) => `fragment F${i} on Q { f${i} ${all} }`).join(' ');
    expect(operations(`{ ${all} } ${fragments}`)[0]?.fields).toHaveLength(100);
  });

  test('never throws', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '{',
        '}',
        '...',
        'on',
        'query',
        'fragment',
        'F',
        'a',
        '(',
        ')',
        ':',
        '"',
        '"""',
        '\\',
        '#',
        '$',
        '@',
        '[',
        ']',
        '!',
        '=',
        '1',
        ' ',
        '\n',
      ),
      fc.string({ maxLength: 3 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const result = readGraphql(pieces.join(''));
        expect(result.ok ? result.operations.length > 0 : result.why !== '').toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test('the largest documents come to an end', () => {
    for (const text of ['"', '"""', '#', '{a', ' ', '{a(b:"\\"', '...', '\\"""'])
      readGraphql(text.repeat(GRAPHQL_CHARS_MAX / text.length));
    expect(why('a'.repeat(1_048_576))).toContain('characters');
  });
});

test('chooseOperation', () => {
  const two = operations('query A { a } mutation B { b }');
  expect(chooseOperation(two, 'B')?.type).toBe('mutation');
  expect(chooseOperation(two, undefined)).toBeUndefined();
  expect(chooseOperation(two, 'C')).toBeUndefined();
  expect(chooseOperation(two.slice(0, 1), '')?.type).toBe('query');
});

describe('requests', () => {
  const body = (value: unknown) => readGraphqlBody(Buffer.from(JSON.stringify(value)));

  test('bodies', () => {
    expect(body({ query: '{a}', variables: { query: 'x' }, operationName: null })).toMatchObject({
      ok: true,
      operations: [{ fields: ['a'] }],
    });
    expect(body([{ query: '{a}' }, { query: 'mutation M { b }', operationName: 'M' }])).toMatchObject({
      ok: true,
      operations: [{ type: 'query' }, { type: 'mutation' }],
    });
  });

  test.each([
    ['no text', { operationName: 'A' }],
    ['a persisted query', { extensions: { persistedQuery: { sha256Hash: 'x' } } }],
    ['a persisted query beside a text', { query: '{a}', extensions: { persistedQuery: {} } }],
    ['a document id', { query: '{a}', documentId: 'x' }],
    ['another case', { query: '{a}', Query: 'mutation{b}' }],
    ['a text that is a list', { query: ['{a}'] }],
    ['an operationName that is a number', { query: '{a}', operationName: 1 }],
    ['two operations and no name', { query: 'query A {a} mutation B {b}' }],
    ['an empty batch', []],
    ['a string', '{a}'],
  ])('refuses %s', (_name, value) => {
    expect(body(value).ok).toBe(false);
  });

  test('query strings', () => {
    expect(readGraphqlQuery('query=%7Ba%7D&operationName=')).toMatchObject({
      ok: true,
      operations: [{ fields: ['a'] }],
    });
    expect(readGraphqlQuery('query=query+A{a}+mutation+B{b}&operationName=B')).toMatchObject({
      ok: true,
      operations: [{ type: 'mutation' }],
    });
    expect(readGraphqlQuery('query={a}&extensions={"x":1}')?.ok).toBe(true);
    expect(readGraphqlQuery('')).toBeUndefined();
  });

  test.each([
    'query={a}&query=mutation{b}',
    'query={a}&Query=mutation{b}',
    'documentId=x',
    'operationName=A',
    'query={a}&extensions={"persisted\\u0051uery":{}}',
    'query={a}&extensions=x',
  ])('refuses ?%s', (query) => {
    expect(readGraphqlQuery(query)?.ok).toBe(false);
  });
});
