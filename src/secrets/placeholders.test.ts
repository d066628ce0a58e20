import { describe, expect, it } from 'vitest';
import { createPlaceholder } from './placeholders.ts';
import { ALPHABETS, AWS_SHAPES, GENERIC, SHAPES } from './shapes.ts';

const make = (credential: string, more: Partial<Parameters<typeof createPlaceholder>[0]> = {}): string =>
  createPlaceholder({ credential, field: 'value', variables: [], ...more });

describe('placeholders', () => {
  it.each([
    ['ANTHROPIC_API_KEY', /^sk-ant-api03-[\w-]{93}AA$/],
    ['OPENAI_API_KEY', /^sk-[A-Za-z0-9]{48}$/],
    ['GITHUB_TOKEN', /^ghp_[A-Za-z0-9]{36}$/],
    ['GH', /^ghp_[A-Za-z0-9]{36}$/],
    ['gitlab-token', /^glpat-[\w-]{26}$/],
    ['SLACK_BOT_TOKEN', /^xoxb-\d{12}-\d{13}-[A-Za-z0-9]{24}$/],
    ['NPM_TOKEN', /^npm_[A-Za-z0-9]{36}$/],
    ['INTERNAL', /^gbx_[A-Za-z0-9]{43}$/],
  ])('for %s have its format', (name, format) => {
    expect(make('x', { variables: [name] })).toMatch(format);
    expect(make(name)).toMatch(format);
  });

  it('have the formats of AWS by field', () => {
    expect(make('x', { field: 'accessKeyId' })).toMatch(/^AKIA[A-Z2-7]{16}$/);
    expect(make('x', { field: 'accessKeyId', secret: Buffer.from('ASIAREALREALREALREAL') })).toMatch(
      /^ASIA[A-Z2-7]{16}$/,
    );
    expect(make('x', { field: 'secretAccessKey' })).toMatch(/^[A-Za-z0-9+/]{40}$/);
    expect(make('x', { field: 'sessionToken' })).toMatch(/^IQoJ/);
  });

  it('follow the policy first, then the kind of the secret, then names', () => {
    const secret = Buffer.from('github_pat_11AAAAAAA0aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbb');
    expect(make('GH', { secret })).toMatch(/^github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}$/);
    expect(make('GH', { secret, prefix: 'own-' })).toMatch(/^own-/);
    expect(make('GH', { prefix: 'sk-ant-api03-' })).toMatch(/^sk-ant-api03-[\w-]{93}AA$/);
  });

  it('are as long as a secret of no known shape, where that leaves enough room', () => {
    expect(make('X', { secret: Buffer.from('q'.repeat(60)) })).toHaveLength(60);
    expect(make('X', { secret: Buffer.from('short-secret') })).toHaveLength(47);
    expect(make('X', { secret: Buffer.from('q'.repeat(5000)) })).toHaveLength(47);
  });

  it('never repeat', () => {
    const made = Array.from({ length: 500 }, () => make('X'));
    expect(new Set(made).size).toBe(500);
  });

  it.each([GENERIC, ...SHAPES, AWS_SHAPES['secretAccessKey'] ?? GENERIC])(
    'have 128 random bits: $prefix',
    ({ parts }) => {
      const bits = parts.reduce(
        (sum, part) => sum + (typeof part === 'string' ? 0 : part[1] * Math.log2(ALPHABETS[part[0]].length)),
        0,
      );
      expect(bits).toBeGreaterThanOrEqual(128);
    },
  );
});
