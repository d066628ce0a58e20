// Reads the caller's tokens from the environment. Source: Shai-Hulud (2025): npm install scripts that posted process.env.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

const NAMES = [
  'AWS_SECRET_ACCESS_KEY',
  'GITHUB_TOKEN',
  'ANTHROPIC_API_KEY',
  'OPENAI_API_KEY',
  'NPM_TOKEN',
  'SSH_AUTH_SOCK',
  'DBUS_SESSION_BUS_ADDRESS',
  'KUBECONFIG',
  'DATABASE_URL',
  'MY_OWN',
];

forEachTier('no variable passes that the policy does not name', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.sh('env; cat /proc/self/environ | tr "\\0" "\\n"; set; cat /proc/1/environ', {
    env: Object.fromEntries(NAMES.map((name) => [name, box.canary])),
  });
  expect(result.stdout, result.stderr).toContain('GLOVEBOX=1');
  for (const name of NAMES) expect(result.stdout).not.toContain(`${name}=`);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
