import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { CAPS } from '../base/caps.ts';
import { payloadJson, visible, visibleLine } from './redact.ts';
import { parseRecord, pendingRecord, recordLine, EMPTY_HEAD } from './record.ts';

test('control characters are spelled out', () => {
  expect(visible('a\u001b[2Jb\u009bc\u007f\u202egpj.exe\ud800')).toBe(
    String.raw`a\u{1b}[2Jb\u{9b}c\u{7f}\u{202e}gpj.exe\u{d800}`,
  );
  expect(visible('ö 😀\n\t')).toBe('ö 😀\n\t');
  expect(visibleLine('a\nb\tc\rd')).toBe(String.raw`a\nb\tc\u{d}d`);
});

test('long strings and lists are cut and say so', () => {
  const payload: unknown = JSON.parse(
    payloadJson({ text: 'x'.repeat(20_000), list: Array.from({ length: 1500 }, () => 1) }),
  );
  expect(payload).toMatchObject({ text: expect.stringMatching(/x\[3616 more characters cut\]$/) });
  expect(JSON.stringify(payload)).toContain('[500 more cut]');
});

test('a payload that no cut makes fit is replaced by its hash', () => {
  const data = Object.fromEntries(
    Array.from({ length: 2000 }, (_, i) => [
      `${i}${'k'.repeat(60)}`,
      Array.from({ length: 60 }, () => 'v'.repeat(60)),
    ]),
  );
  expect(JSON.parse(payloadJson(data))).toEqual({
    cut: true,
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});

test('property: any payload becomes a line that fits and parses back to a record', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.anything({ withBigInt: true })), (data) => {
      const line = recordLine(pendingRecord({ kind: 'run.end', sandbox: 'sbx_a', data }), EMPTY_HEAD);
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(CAPS.auditLineBytes);
      expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
      expect(parseRecord(line)).toBeDefined();
    }),
    { numRuns: 500 },
  );
});
