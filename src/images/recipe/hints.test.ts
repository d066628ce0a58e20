import { describe, expect, it } from 'vitest';
import { stepHint } from './hints.ts';

describe('stepHint', () => {
  it('names the hosts that were refused first, as options', () => {
    expect(
      stepHint('mkdir: cannot create directory ‘/data’: Permission denied', ['pypi.org', 'a.b:80']),
    ).toEqual({
      why: 'it was refused pypi.org, a.b:80',
      next: expect.stringContaining('--allow pypi.org --allow a.b:80'),
    });
  });

  it.each([
    'E: setgroups 65534 failed - setgroups (1: Operation not permitted)',
    'su: cannot set groups: Operation not permitted',
    'runuser: cannot set groups: Operation not permitted',
    'setpriv: setresuid failed: Invalid argument',
  ])('knows who wants to be another user: %s', (said) => {
    expect(stepHint(`before\n${said}\n`, []).why).toBe(
      'a step is root in name only and cannot become another user',
    );
  });

  it.each([
    ['mkdir: cannot create directory ‘/data’: Read-only file system', '/data'],
    ["mkdir: cannot create directory '/data': Permission denied", '/data'],
    ['sh: 1: cannot create /file: Read-only file system', '/file'],
    ["OSError: [Errno 30] Read-only file system: '/data'", '/data'],
    ["Error: EROFS: read-only file system, mkdir '/data'", '/data'],
  ])('knows who wants an entry at the top: %s', (said, dir) => {
    expect(stepHint(said, []).next).toContain(`\`WORKDIR ${dir}\``);
  });

  it.each(['', 'error: something else', "mkdir: cannot create directory '/usr/x': Permission denied"])(
    'says nothing that it does not know: %s',
    (said) => {
      expect(stepHint(said, [])).toEqual({});
    },
  );
});
