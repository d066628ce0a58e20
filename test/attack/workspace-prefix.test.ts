// Reaches a sibling whose name begins like the workspace's. Source: CVE-2025-53110 (MCP filesystem server, prefix match).
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a sibling with the same prefix is outside', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('project-secrets/key.txt', box.home);
  const result = await box.python(`
attempt('read', lambda: read_file('${secret}'))
attempt('relative', lambda: read_file('../project-secrets/key.txt'))
attempt('list', lambda: os.listdir('${box.home}/project-secrets'))
`);
  expectRefused(result, ['read', 'relative', 'list'], ['ENOENT', 'EACCES']);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
