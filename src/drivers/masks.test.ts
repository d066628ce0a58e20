import { describe, expect, it } from 'vitest';
import { planMasks } from './masks.ts';
import type { Guard } from './survey.ts';

const guard = (path: string, extra: Partial<Guard> = {}): Guard => ({
  action: 'deny',
  path,
  type: 'file',
  root: '/ws',
  rule: 'filesystem.deny[0]',
  ...extra,
});

describe('planMasks', () => {
  it('pins every directory between the tree and the guarded path, parents first', () => {
    const masks = planMasks([guard('/ws/a/b/.env')]);
    expect(masks.map((mask) => [mask.kind, mask.path])).toEqual([
      ['pin', '/ws/a'],
      ['pin', '/ws/a/b'],
      ['hide', '/ws/a/b/.env'],
    ]);
  });

  it('freezes what is protected and holds a protected symlink in place', () => {
    const masks = planMasks([
      guard('/ws/.git/config', { action: 'protect' }),
      guard('/ws/.envrc', { action: 'protect', type: 'symlink' }),
    ]);
    expect(masks.map((mask) => [mask.kind, mask.path, mask.type])).toEqual([
      ['pin', '/ws/.envrc', 'symlink'],
      ['pin', '/ws/.git', 'any'],
      ['readonly', '/ws/.git/config', 'file'],
    ]);
  });

  it('keeps an absent path absent', () => {
    expect(planMasks([guard('/ws/.env', { type: 'missing' })])).toMatchObject([
      { kind: 'placeholder', path: '/ws/.env', deny: true },
    ]);
  });

  it('leaves out what lies below a hidden directory', () => {
    const masks = planMasks([guard('/ws/secrets', { type: 'dir' }), guard('/ws/secrets/key.pem')]);
    expect(masks.map((mask) => mask.path)).toEqual(['/ws/secrets']);
  });

  it('looks a wholly denied tree up in its parent', () => {
    expect(planMasks([guard('/home/u/.aws', { type: 'dir', root: '/home/u/.aws' })])).toMatchObject([
      { kind: 'hide', path: '/home/u/.aws', root: '/home/u' },
    ]);
  });

  it('lets a guard replace a pin of the same directory', () => {
    const masks = planMasks([
      guard('/ws/.git/config', { action: 'protect' }),
      guard('/ws/.git', { type: 'dir' }),
    ]);
    expect(masks.map((mask) => [mask.kind, mask.path])).toEqual([['hide', '/ws/.git']]);
  });

  it('refuses more masks than a sandbox may have', () => {
    const many = Array.from({ length: 20_001 }, (_, i) => guard(`/ws/f${i}`));
    expect(() => planMasks(many)).toThrow(/20001 paths/);
  });
});
