import { describe, expect, test } from 'vitest';
import type { PlaceholderResult } from '../../agent/contract.ts';
import type { Mask, Plan } from '../contract.ts';
import { maskMounts, type MaskInput } from './masks.ts';

const WORK = '/w';
const OWN = '/run/own';
const mask = (kind: Mask['kind'], name: string, more: Partial<Mask> = {}): Mask => ({
  kind,
  path: `${WORK}/${name}`,
  root: WORK,
  type: 'any',
  deny: kind === 'hide',
  rule: 'a test',
  ...more,
});

interface Case {
  readonly masks: readonly Mask[];
  readonly types?: Readonly<Record<string, ReturnType<MaskInput['typeOf']>>>;
  readonly results?: readonly PlaceholderResult[];
  readonly writable?: boolean;
}

function mounts({ masks, types = {}, results = [], writable = true }: Case): readonly string[] {
  const view: Plan['view'] = [{ kind: 'bind', source: WORK, target: '/inside', writable, why: 'a test' }];
  const plan = { masks, view } as unknown as Plan;
  const placeholders = new Map(results.map((result, index) => [index, result]));
  const typeOf: MaskInput['typeOf'] = (name) => types[name.slice(WORK.length + 1)] ?? 'dir';
  return maskMounts({ plan, placeholders, own: OWN, typeOf }).map(({ mount, verify }) => {
    const source = mount.kind === 'bind' ? `${mount.source} ${mount.writable ? 'rw' : 'ro'}` : mount.kind;
    return `${source} -> ${mount.target} (${verify.kind} ${Buffer.from(verify.path).toString()})`;
  });
}

describe('maskMounts', () => {
  test('each kind is a mount on top of the tree, and checked inside', () => {
    const masks = [
      mask('pin', '.git'),
      mask('hide', '.env'),
      mask('hide', 'keys'),
      mask('readonly', '.git/config'),
    ];
    expect(mounts({ masks, types: { '.env': 'file', '.git/config': 'file' } })).toEqual([
      '/w/.git rw -> /inside/.git (pinned /inside/.git)',
      '/run/own/hidden-file ro -> /inside/.env (hidden /inside/.env)',
      '/run/own/hidden-dir ro -> /inside/keys (hidden /inside/keys)',
      '/w/.git/config ro -> /inside/.git/config (readonly /inside/.git/config)',
    ]);
  });

  test('a placeholder looks as it does in the other tiers', () => {
    const masks = [
      mask('placeholder', '.vscode'),
      mask('placeholder', '.env', { deny: true }),
      mask('placeholder', 'commondir', { dotFile: true }),
      mask('placeholder', 'real'),
      mask('placeholder', 'nobody'),
    ];
    const results = ['created', 'joined', 'created', 'real', 'skipped'] as const;
    expect(mounts({ masks, results, types: { commondir: 'file', real: 'file' } })).toEqual([
      '/run/own/empty-dir ro -> /inside/.vscode (placeholder /inside/.vscode)',
      '/run/own/hidden-dir ro -> /inside/.env (placeholder /inside/.env)',
      '/w/commondir ro -> /inside/commondir (placeholder /inside/commondir)',
      '/w/real ro -> /inside/real (readonly /inside/real)',
    ]);
  });

  test('a tree that is bound read-only holds its pins and frozen files by itself', () => {
    const masks = [mask('pin', '.git'), mask('readonly', '.git/config'), mask('hide', 'keys')];
    expect(mounts({ masks, writable: false })).toEqual([
      '/run/own/hidden-dir ro -> /inside/keys (hidden /inside/keys)',
    ]);
  });

  test('a parent that nobody made needs no pin', () => {
    const plan = {
      masks: [mask('pin', 'gone')],
      view: [{ kind: 'bind', source: WORK, target: WORK, writable: true }],
    };
    const input = {
      plan: plan as unknown as Plan,
      placeholders: new Map(),
      own: OWN,
      typeOf: () => undefined,
    };
    expect(maskMounts(input)).toEqual([]);
  });

  test('refuses what it cannot hold, by name', () => {
    const unsupported = (text: string): unknown =>
      expect.objectContaining({ code: 'E_UNSUPPORTED', what: expect.stringContaining(text) });
    const link = { masks: [mask('pin', 'link')], types: { link: 'symlink' } } as const;
    expect(() => mounts(link)).toThrow(unsupported('/w/link'));
    expect(() => mounts({ masks: [mask('placeholder', 'a/b')], results: ['blocked'] })).toThrow(
      unsupported('/w/a/b'),
    );
  });
});
