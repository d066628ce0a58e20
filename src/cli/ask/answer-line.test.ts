import { describe, expect, it } from 'vitest';
import { AnswerLine } from './answer-line.ts';

const typed = (line: AnswerLine, keys: string, atMs = 0): ReturnType<AnswerLine['take']> =>
  line.take(Buffer.from(keys), atMs);

describe('AnswerLine', () => {
  it.each([
    ['\r', 'deny'],
    ['deny\n', 'deny'],
    ['once\r', 'once'],
    ['ONCE\r', 'once'],
    ['sandbox\r', 'sandbox'],
    ['no\u0015once\r', 'once'],
    ['oncee\u007f\r', 'once'],
    ['\u0003', 'stop'],
    ['onc\u0004', 'deny'],
    ['y\r', 'unknown'],
    ['s\r', 'unknown'],
    ['ls once\r', 'unknown'],
    [' once\r', 'unknown'],
    ['constructor\r', 'unknown'],
    ['once', undefined],
  ] as const)('%j is %s', (keys, answer) => {
    expect(typed(new AnswerLine(), keys)).toBe(answer);
  });

  it('takes nothing from input that a terminal sends by itself, until it is quiet', () => {
    for (const report of [
      '\u001b]lonce\r\u001b\\',
      '\u001b[200~sandbox\r\u001b[201~',
      'once\u009b\r',
      'once\u0000\r',
      '\u00e9\r',
    ]) {
      const line = new AnswerLine();
      expect(typed(line, 'onc', 0)).toBeUndefined();
      expect(typed(line, report, 10)).toBeUndefined();
      expect(line.text).toBe('');
      expect(typed(line, 'e\rsandbox\r', 100)).toBeUndefined();
      expect(typed(line, 'once\r', 250)).toBeUndefined();
      expect(typed(line, 'once\r', 1000)).toBe('once');
    }
  });

  it('keeps no more than a word', () => {
    const line = new AnswerLine();
    typed(line, 'x'.repeat(100_000));
    expect(line.text).toHaveLength(16);
    expect(typed(line, '\r')).toBe('unknown');
  });
});
