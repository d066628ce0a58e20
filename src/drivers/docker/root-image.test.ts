import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { rootImage } from './root-image.ts';

const ENTRIES = [
  { kind: 'symlink', path: '/bin', to: 'usr/bin' },
  { kind: 'dir', path: '/etc', mode: 0o755 },
  { kind: 'dir', path: '/etc/ssl', mode: 0o700 },
] as const;

describe('rootImage', () => {
  test('is an archive of directories and links that tar(1) reads', () => {
    const listed = spawnSync('tar', ['--list', '--verbose', '--numeric-owner', '--file', '-'], {
      input: rootImage(ENTRIES).archive,
      encoding: 'utf8',
      env: { TZ: 'UTC', PATH: '/usr/bin:/bin' },
    });
    expect(listed.stderr).toBe('');
    const seen = listed.stdout
      .trim()
      .split('\n')
      .map((line) => line.replace(/\s+/g, ' '));
    expect(seen).toEqual([
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin -> usr/bin',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/',
      'drwx------ 0/0 0 1970-01-01 00:00 etc/ssl/',
    ]);
  });

  test('has the name of its content, whatever the order', () => {
    expect(rootImage(ENTRIES).name).toBe(rootImage(ENTRIES.toReversed()).name);
    expect(rootImage(ENTRIES).name).not.toBe(rootImage(ENTRIES.slice(1)).name);
    expect(rootImage(ENTRIES).name).toMatch(/^glovebox\/root:[0-9a-f]{32}$/);
  });

  test('refuses a name that its format cannot hold', () => {
    const long = { kind: 'dir', path: `/${'x'.repeat(120)}`, mode: 0o755 } as const;
    expect(() => rootImage([long])).toThrow(expect.objectContaining({ code: 'E_UNSUPPORTED' }));
  });
});
