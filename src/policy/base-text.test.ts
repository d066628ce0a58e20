import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CommandLineLayer } from './contract.ts';
import { diffPolicies } from './diff.ts';
import { caught, PolicyFixture } from './fixture.ts';
import { resolvePolicy } from './resolve.ts';

const baseOf = (fixture: PolicyFixture, layer: CommandLineLayer = {}): unknown =>
  resolvePolicy(fixture.context, layer).policy.filesystem.base;

const policy = (base: string): string => `version: 1\nfilesystem: { base: "${base}" }\n`;

describe('filesystem.base', () => {
  it('is the host unless somebody says otherwise, and later layers win', () => {
    using fixture = new PolicyFixture();
    expect(baseOf(fixture)).toBeUndefined();
    fixture.user(policy('image:team/app:v1'));
    expect(baseOf(fixture)).toEqual({ kind: 'image', name: 'team/app:v1' });
    expect(baseOf(fixture, { base: 'python' })).toEqual({ kind: 'image', name: 'python' });
    expect(baseOf(fixture, { base: 'image:python' })).toEqual({ kind: 'image', name: 'python' });
    expect(baseOf(fixture, { base: 'host' })).toBeUndefined();
  });

  it('a directory is absolute in the end', () => {
    using fixture = new PolicyFixture();
    fixture.user(policy('~/rootfs'));
    expect(baseOf(fixture)).toEqual({ kind: 'directory', path: path.join(fixture.home, 'rootfs') });
    expect(baseOf(fixture, { base: './rootfs' })).toEqual({
      kind: 'directory',
      path: path.join(fixture.workspace, 'rootfs'),
    });
  });

  it.each([
    ['python', 'a directory begins with'],
    ['image:', 'the name of an image is'],
    ['image:../x', 'the name of an image is'],
    ['/', 'it is the whole machine'],
    ['/x/\u0007', 'control character'],
    ['', 'a directory begins with'],
  ])('%j is refused with its place', (text, why) => {
    using fixture = new PolicyFixture();
    const file = fixture.user(`version: 1\nfilesystem: { base: ${JSON.stringify(text)} }\n`);
    const error = caught(() => baseOf(fixture));
    expect(error.code).toBe('E_POLICY_INVALID');
    expect(error.message).toContain(`${file}:2:21: filesystem.base`);
    expect(error.message).toContain(why);
  });

  it('on the command line is refused by the name of the option', () => {
    using fixture = new PolicyFixture();
    expect(caught(() => baseOf(fixture, { base: 'Python Image' })).message).toContain('--image');
  });

  it('of the organisation is the only one: another, the host too, is refused with both places', () => {
    using fixture = new PolicyFixture();
    const org = fixture.organisation(policy('image:approved'));
    expect(baseOf(fixture)).toEqual({ kind: 'image', name: 'approved' });
    expect(baseOf(fixture, { base: 'approved' })).toEqual({ kind: 'image', name: 'approved' });
    for (const base of ['host', 'other', '/srv/rootfs']) {
      const error = caught(() => baseOf(fixture, { base }));
      expect(error.code).toBe('E_POLICY_CEILING');
      expect(error.message).toContain(`${org}:2:21`);
    }
  });

  it('of the organisation may be the host, and then no image is used', () => {
    using fixture = new PolicyFixture();
    fixture.organisation(policy('host'));
    expect(baseOf(fixture)).toBeUndefined();
    expect(caught(() => baseOf(fixture, { base: 'python' })).code).toBe('E_POLICY_CEILING');
  });

  it('is a widening in any direction', () => {
    using fixture = new PolicyFixture();
    const host = resolvePolicy(fixture.context, {}).policy;
    const image = resolvePolicy(fixture.context, { base: 'python' }).policy;
    for (const [a, b] of [
      [host, image],
      [image, host],
    ] as const)
      expect(diffPolicies(a, b).map(({ effect, path: key }) => [effect, key])).toEqual([
        ['widening', 'filesystem.base'],
      ]);
    expect(diffPolicies(image, image)).toEqual([]);
  });
});
