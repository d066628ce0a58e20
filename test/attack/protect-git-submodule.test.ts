// Plants a hook in the git directory of a submodule. Source: CVE-2024-32002, CVE-2025-48384 (hooks of submodules).
import { expect } from 'vitest';
import {
  AttackBox,
  expectAllRefused,
  expectRecorded,
  forEachTier,
  needsProgram,
  onHost,
} from '../support/attack.ts';

const SINKS = [
  '.git/modules/lib/hooks/post-checkout',
  '.git/modules/lib/hooks',
  '.git/modules/lib/config',
  'lib/.git',
];

forEachTier(
  'hooks and configuration of submodules cannot be written',
  async (tier) => {
    using box = new AttackBox(tier);
    const script = `git init -q ../lib && cd ../lib && git -c user.name=n -c user.email=e@x commit -q --allow-empty -m m && cd - && git init -q . && git -c protocol.file.allow=always submodule --quiet add ../lib lib`;
    const made = await onHost(box, ['bash', '-c', script]);
    expect(made.code, made.stderr).toBe(0);
    const before = box.read('lib/.git');
    expectAllRefused(await box.tamper(SINKS), 40);
    expect(box.read('lib/.git')).toBe(before);
    expectRecorded(box);
  },
  [needsProgram('git')],
);
