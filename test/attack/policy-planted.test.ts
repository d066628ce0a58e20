// The sandbox writes a policy for the next run. Source: persistence by settings files (CVE-2025-53773, Copilot "YOLO mode").
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a policy written from inside gives the next run nothing', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('secret.txt');
  const places =
    'glovebox.yaml glovebox.yml glovebox.json .glovebox.yaml .glovebox/policy.yaml ~/.config/glovebox/policy.yaml';
  await box.sh(
    `mkdir -p .glovebox ~/.config/glovebox; for f in ${places}; do printf 'version: 1\\nfilesystem: {read: ["${secret}"]}\\n' > $f; done`,
  );
  const result = await box.python(`attempt('read', lambda: read_file('${secret}'))`);
  expectRefused(result, ['read'], ['ENOENT', 'EACCES']);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
