import { describe, expect, test } from 'vitest';
import { bitString, element, integer, octetString, oid, sequence, tagged, time, utf8, yes } from './der.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('DER', () => {
  test.each([
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [65_535, '0482ffff'],
  ])('a length of %i is written in its shortest form', (length, head) => {
    const bytes = octetString(new Uint8Array(length));
    expect(hex(bytes.subarray(0, head.length / 2))).toBe(head);
    expect(bytes.length).toBe(head.length / 2 + length);
  });

  test.each([
    [[0], '020100'],
    [[0, 0, 5], '020105'],
    [[0x7f], '02017f'],
    [[0x80], '02020080'],
    [[0, 0x80, 1], '0203008001'],
  ])('integer %j', (bytes, expected) => {
    expect(hex(integer(Uint8Array.from(bytes)))).toBe(expected);
  });

  test.each([
    ['2.5.29.17', '0603551d11'],
    ['1.2.840.10045.4.3.2', '06082a8648ce3d040302'],
    ['1.3.6.1.5.5.7.3.1', '06082b06010505070301'],
  ])('oid %s', (dotted, expected) => {
    expect(hex(oid(dotted))).toBe(expected);
  });

  test.each([
    ['2026-11-21T14:48:34.999Z', '3236313132313134343833345a', 0x17],
    ['2049-12-31T23:59:59Z', '3439313233313233353935395a', 0x17],
    ['2050-01-01T00:00:00Z', '32303530303130313030303030305a', 0x18],
  ])('time %s', (at, text, tag) => {
    expect(hex(time(Date.parse(at)))).toBe(hex(element(tag, Buffer.from(text, 'hex'))));
  });

  test('the rest', () => {
    expect(hex(sequence(yes(), utf8('é')))).toBe('30070101ff0c02c3a9');
    expect(hex(bitString(Uint8Array.of(0x80), 7))).toBe('03020780');
    expect(hex(tagged(2, Uint8Array.of(1), false))).toBe('820101');
    expect(hex(tagged(3, sequence(), true))).toBe('a3023000');
  });
});
