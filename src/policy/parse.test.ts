import { describe, expect, it } from 'vitest';
import { caught } from './fixture.ts';
import { formatPath, parsePolicyFile } from './parse.ts';

const parse = (text: string | Uint8Array): ReturnType<typeof parsePolicyFile> =>
  parsePolicyFile('p.yaml', typeof text === 'string' ? Buffer.from(text) : text);
const message = (text: string | Uint8Array): string => caught(() => parse(text)).message;

describe('parsePolicyFile', () => {
  it('keeps the position of keys and values', () => {
    const parsed = parse(
      'version: 1\nnetwork:\n  allow:\n    - a.example.com\n    - { host: b.example.com }\n',
    );
    expect(parsed.at(['network', 'allow', 1, 'host'])).toEqual({ file: 'p.yaml', line: 5, column: 15 });
    expect(parsed.keyAt(['network', 'allow'])).toEqual({ file: 'p.yaml', line: 3, column: 3 });
    expect(parsed.at(['network', 'deny', 3])).toEqual({ file: 'p.yaml', line: 3, column: 3 });
  });

  it('reads JSON with the same parser, tabs and escapes too', () => {
    const parsed = parse('{\n\t"version": 1,\n\t"a": ["\\u00e9\\ud83d\\ude00", "\\/x", null, true]\n}\n');
    expect(parsed.value).toEqual({ version: 1, a: ['é😀', '/x', null, true] });
    expect(parsed.at(['a'])).toMatchObject({ line: 3 });
  });

  it('reads YAML 1.2: yes, no and on are text, octal has a prefix', () => {
    expect(parse('a: yes\nb: on\nc: 0o17\nd: 017\ne: 2024-01-01\n').value).toEqual({
      a: 'yes',
      b: 'on',
      c: 15,
      d: 17,
      e: '2024-01-01',
    });
  });

  it.each([
    [
      'a byte order mark',
      Buffer.from([0xef, 0xbb, 0xbf, 0x61]),
      'p.yaml:1:1: the file begins with a byte order mark; save it without one',
    ],
    ['invalid UTF-8', Buffer.from([0x61, 0xff]), 'p.yaml:1:1: the file is not valid UTF-8'],
    ['a control character', 'a: 1\nb: x\u0007y\n', 'p.yaml:2:5: it holds the control character U+0007'],
    ['a duplicate key', 'a: 1\nb: 2\na: 3\n', 'p.yaml:3:1: this key stands here twice'],
    [
      'a merge key',
      'a: &x { b: 1 }\nc:\n  <<: *x\n',
      'p.yaml:3:3: c: found "<<": merge keys (<<) are not part of the language',
    ],
    ['a tag', 'a: !!str 1\n', 'p.yaml:1:10: a: tags (!name) are not part of the language'],
    ['a custom tag', 'a: !env HOME\n', 'p.yaml:1:4: tags (!name) are not part of the language'],
    ['two documents', 'a: 1\n---\nb: 2\n', 'p.yaml:2:1: a policy is one document; remove the second "---"'],
    ['a key that is no text', '1: x\n', 'p.yaml:1:1: found 1: keys must be text'],
    ['a prototype key', '__proto__: { a: 1 }\n', 'p.yaml:1:1: found "__proto__": keys must be text'],
  ])('refuses %s', (_what, text, expected) => {
    expect(message(text)).toBe(expected);
  });

  it('follows aliases, with the position of the anchor', () => {
    const parsed = parse('a: &x [1, 2]\nb: *x\n');
    expect(parsed.value).toEqual({ a: [1, 2], b: [1, 2] });
  });

  it('bounds aliases and nesting', () => {
    const laughs = [
      'a0: &a0 [x]',
      ...Array.from({ length: 20 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(',')}]`),
    ].join('\n');
    expect(message(laughs)).toMatch(/the file holds more than 50000 values|nested too deeply/);
    expect(message('['.repeat(100_000))).toMatch(/nested too deeply|p\.yaml/);
    expect(message(`${'['.repeat(40)}${']'.repeat(40)}`)).toMatch(/nested too deeply/);
  });

  it('writes paths as people do', () => {
    expect(formatPath(['network', 'allow', 2, 'odd key'])).toBe('network.allow[2]."odd key"');
  });
});
