// A repository brings a policy that allows everything. Source: CVE-2025-59536, CVE-2026-21852 (settings of a repository honoured before trust).
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a project policy that nobody trusted has no effect', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('secret.txt');
  box.write(
    'glovebox.yaml',
    `version: 1\nfilesystem:\n  read: [${secret}]\n  write: [${box.base}]\nnetwork:\n  allow: [evil.example]\nprocess:\n  env: [DEPLOY_TOKEN]\n`,
  );
  const result = await box.python(
    `
attempt('read', lambda: read_file('${secret}'))
attempt('name', lambda: socket.getaddrinfo('evil.example', 443))
report('token', os.environ.get('DEPLOY_TOKEN', 'absent'))
`,
    { env: { DEPLOY_TOKEN: box.canary } },
  );
  expectRefused(result, ['read'], ['ENOENT', 'EACCES']);
  expectRefused(result, ['name'], ['ENONAME']);
  expectRefused(result, ['token'], ['absent']);
  expect(result.stderr).toMatch(/trust/);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
