// Makes Glovebox's own policy, trust and audit files writable. Source: Codex CVE-2025-61260 and others: the agent edits what binds it.
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, forEachTier } from '../support/attack.ts';

const POLICY = 'version: 1\n';

forEachTier(
  "the caller's policy and the audit log cannot be written from inside, even where --write covers them",
  async (tier) => {
    using box = new AttackBox(tier);
    box.policy(POLICY);
    await box.sh('true');
    const before = box.records().length;
    const dirs = [`${box.home}/.config`, `${box.home}/.local/state`, `${box.home}/.local`];
    for (const dir of dirs) {
      const result = await box.sh(
        `echo 'network: {allow: [evil.example]}' >> ${box.home}/.config/glovebox/policy.yaml; for f in ${box.home}/.local/state/glovebox/audit/*; do : > $f; done; rm -rf ${dir}/*; echo tried`,
        { flags: ['--write', dir] },
      );
      expect(result.code === 125 || result.stdout.includes('tried')).toBe(true);
    }
    expect(readFileSync(`${box.home}/.config/glovebox/policy.yaml`, 'utf8')).toBe(POLICY);
    expect(box.records().length).toBeGreaterThanOrEqual(before);
  },
);
