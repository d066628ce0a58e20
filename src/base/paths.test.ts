import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensurePrivateDir } from './paths.ts';

let base: string;
beforeEach(() => {
  base = realpathSync(mkdtempSync(path.join(tmpdir(), 'glovebox-paths-')));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

describe('a private directory', () => {
  it('is made, and closed to others when it was open', () => {
    const dir = path.join(base, 'a/b');
    ensurePrivateDir(dir);
    chmodSync(dir, 0o755);
    expect(statSync(ensurePrivateDir(dir)).mode & 0o777).toBe(0o700);
  });

  it.each(['/proc', '/proc/1/fd', '/dev/null', '/sys'])(
    'is refused at once where nothing can be made: %s',
    (place) => {
      expect(() => ensurePrivateDir(path.join(place, 'glovebox/a/b'))).toThrow(
        expect.objectContaining({ code: 'E_IO', what: `cannot use ${place}/glovebox/a/b` }),
      );
    },
  );

  it('is refused below one that everybody may write to, unless it is sticky', () => {
    const open = path.join(base, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    expect(() => ensurePrivateDir(path.join(open, 'mine'))).toThrow(
      expect.objectContaining({ code: 'E_IO', why: `everybody may write to ${open}` }),
    );
    chmodSync(open, 0o1777);
    expect(ensurePrivateDir(path.join(open, 'mine'))).toBe(path.join(open, 'mine'));
  });
});
