// Hides what it planted with control characters in the file name. Source: terminal escape injection (CVE-2003-0063 family, "Trojan Source").
import { expect } from 'vitest';
import { AttackBox, forEachTier, needsProgram } from '../support/attack.ts';

forEachTier(
  'names of appeared files reach the terminal escaped',
  async (tier) => {
    using box = new AttackBox(tier);
    const result = await box.python(`
import subprocess
for name in (b'a\\x1b]0;owned\\x07b', b'c\\x1b[2J\\x1b[1;1H', b'd\\r\\nfake line', b'e\\xe2\\x80\\xaetxt', b'f\\xff\\x9b2J'):
    subprocess.run([b'git', b'init', b'-q', name], check=True)
    write_file(name + b'/.git/hooks/post-checkout')
`);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('.git');
    expect(result.stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(result.stderr).not.toMatch(/^fake line/m);
    expect(box.records().some((record) => record.kind === 'files.appeared')).toBe(true);
  },
  [needsProgram('git')],
);
