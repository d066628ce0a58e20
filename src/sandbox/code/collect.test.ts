import { describe, expect, it } from 'vitest';
import { CODE_CAPS } from './caps.ts';
import { Collector } from './collect.ts';
import type { Result } from './contract.ts';

const over = { timedOut: false, contextLost: false };
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

describe('what a cell leaves', () => {
  it('keeps the forms of a result that have the right shape', () => {
    const collector = new Collector({});
    const chart = { type: 'line', title: null, elements: [] };
    collector.result(json({ text: '1', png: 'iVBOR', chart, data: { a: [1] }, isMainResult: true }));
    collector.result(json({ text: 7, html: ['<b>'], chart: { type: 'spiral', elements: [] }, data: [1] }));
    const { results, text } = collector.execution(1, over);
    expect(text).toBe('1');
    expect(results.map((result) => result.formats())).toEqual([['text', 'png', 'data', 'chart'], []]);
    expect(results[1]?.isMainResult).toBe(false);
  });

  it.each([
    ['no JSON', Buffer.from('{')],
    ['a list', json([])],
    ['null', json(null)],
  ])('%s is a kernel that speaks garbage', (_, body) => {
    expect(() => new Collector({}).result(body)).toThrow(expect.objectContaining({ code: 'E_CODE_KERNEL' }));
    expect(() => new Collector({}).done(body)).toThrow(expect.objectContaining({ code: 'E_CODE_KERNEL' }));
  });

  it('bounds output and results, and says so', () => {
    const seen: Result[] = [];
    const collector = new Collector({ onResult: (result) => seen.push(result) });
    const piece = Buffer.alloc(CODE_CAPS.outputBytes / 2 + 1, 'x');
    for (let i = 0; i < 3; i++) collector.output('stdout', piece);
    for (let i = 0; i < CODE_CAPS.results + 5; i++) collector.result(json({ text: String(i) }));
    const { logs, results, truncated } = collector.execution(1, over);
    expect(logs.stdout.join('')).toHaveLength(CODE_CAPS.outputBytes);
    expect(results).toHaveLength(CODE_CAPS.results);
    expect(seen).toHaveLength(CODE_CAPS.results);
    expect(truncated).toBe(true);
  });

  it.each(['[', '{"a":', '[1],'])('leaves out a result that is nothing but %s', (piece) => {
    const collector = new Collector({});
    const many = Math.floor(CODE_CAPS.frameBytes / piece.length) - 10;
    collector.result(Buffer.from(`{"json":[${piece.repeat(many)}`));
    collector.result(json({ text: 'next' }));
    const { results, truncated } = collector.execution(1, over);
    expect([results.map((result) => result.text), truncated]).toEqual([['next'], true]);
    expect(() => collector.done(Buffer.from(`{"error":[${piece.repeat(many)}`))).toThrow(
      expect.objectContaining({ code: 'E_CODE_KERNEL' }),
    );
  });

  it('joins characters that were cut between pieces', () => {
    const texts: string[] = [];
    const collector = new Collector({ onStderr: (text) => texts.push(text) });
    const bytes = Buffer.from('né€𝄞');
    for (const byte of bytes) collector.output('stderr', Buffer.of(byte));
    expect(collector.execution(1, over).logs.stderr.join('')).toBe('né€𝄞');
    expect(texts.join('')).toBe('né€𝄞');
  });

  it('an ending of our own stands before what the kernel said', () => {
    const collector = new Collector({});
    collector.done(
      json({ executionCount: 3, error: { name: 'KeyboardInterrupt', value: '', traceback: '' } }),
    );
    const error = { name: 'TimeoutError', value: 'late', traceback: 'TimeoutError: late' };
    expect(collector.execution(1, { ...over, timedOut: true, error })).toMatchObject({
      error,
      timedOut: true,
    });
  });
});
