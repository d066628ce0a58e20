import { describe, expect, test } from 'vitest';
import type { Mount } from '../contract.ts';
import { engineView } from './view.ts';

const OWN = '/run/own';
const why = 'a test';
const bind = (target: string, writable = false): Mount => ({
  kind: 'bind',
  source: `/host${target}`,
  target,
  writable,
  why,
});

describe('engineView', () => {
  test('directories and links are of the image, the rest is mounted', () => {
    const view = engineView(
      [
        { kind: 'dir', target: '/etc', mode: 0o755, why },
        { kind: 'symlink', target: '/bin', to: 'usr/bin', why },
        bind('/usr'),
        { kind: 'file', target: '/etc/passwd', content: 'me\n', why },
        { kind: 'proc', target: '/proc', why },
        { kind: 'dev', target: '/dev', why },
        { kind: 'tmpfs', target: '/tmp', bytes: 1024, mode: 0o1777, why },
        { kind: 'hidden', target: '/srv/secret', type: 'dir', why },
      ],
      OWN,
    );
    expect(view).toEqual({
      root: [
        { kind: 'dir', path: '/etc', mode: 0o755 },
        { kind: 'symlink', path: '/bin', to: 'usr/bin' },
      ],
      mounts: [
        { kind: 'bind', source: '/host/usr', target: '/usr', writable: false },
        { kind: 'bind', source: '/run/own/file-0', target: '/etc/passwd', writable: false },
        { kind: 'tmpfs', target: '/tmp', bytes: 1024, mode: 0o1777 },
        { kind: 'bind', source: '/run/own/hidden-dir', target: '/srv/secret', writable: false },
      ],
      files: [{ name: 'file-0', content: 'me\n' }],
    });
  });

  test('what a later mount covers is not there: an engine would mount it on top', () => {
    const view = engineView([bind('/etc/ssl/certs'), bind('/usr'), bind('/etc'), bind('/etc/own')], OWN);
    expect(view.mounts.map(({ target }) => target)).toEqual(['/usr', '/etc', '/etc/own']);
  });

  test('what engines hide of /proc themselves needs no mount, and nothing else there can have one', () => {
    const hidden = (target: string): Mount => ({ kind: 'hidden', target, type: 'file', why });
    expect(engineView([hidden('/proc/kcore'), hidden('/proc/key-users')], OWN).mounts).toEqual([]);
    expect(() => engineView([hidden('/proc/cpuinfo')], OWN)).toThrow(
      expect.objectContaining({ code: 'E_UNSUPPORTED', what: expect.stringContaining('/proc/cpuinfo') }),
    );
  });

  test('refuses what it cannot mount, by name', () => {
    const refused = (...view: Mount[]): unknown => {
      try {
        return engineView(view, OWN);
      } catch (error) {
        return error;
      }
    };
    const unsupported = (text: string): unknown =>
      expect.objectContaining({ code: 'E_UNSUPPORTED', what: expect.stringContaining(text) });
    expect(refused(bind('/srv'), { kind: 'symlink', target: '/srv/link', to: 'x', why })).toEqual(
      unsupported('/srv/link'),
    );
    expect(refused(bind('/a\nb'))).toEqual(unsupported(String.raw`/a\x0ab`));
    expect(refused(bind('/a\udcff'))).toEqual(unsupported(String.raw`/a\xff`));
  });
});
