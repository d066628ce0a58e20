// Makes a repository of its own with a hook, for a person to step into. Source: bare-repository and nested-repository attacks (GHSA-j342-m5hw-rr3v).
import { expect } from 'vitest';
import { AttackBox, forEachTier, needsProgram } from '../support/attack.ts';

forEachTier(
  'a new repository with a hook is listed and recorded',
  async (tier) => {
    using box = new AttackBox(tier);
    const result = await box.sh(
      'git init -q vendor/lib && echo evil > vendor/lib/.git/hooks/post-checkout && chmod +x vendor/lib/.git/hooks/post-checkout',
    );
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('vendor/lib/.git');
    const appeared = box.records().filter((record) => record.kind === 'files.appeared');
    expect(JSON.stringify(appeared)).toContain('vendor/lib/.git');
  },
  [needsProgram('git')],
);
