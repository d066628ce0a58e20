// The denied file lies in a tree made readable by a wider rule. Source: srt lifts a deny by a more specific allow.
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';
import path from 'node:path';

forEachTier('deny beats --read and --write, wider and narrower', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('shared/deep/token.txt');
  const flags = [
    '--deny',
    secret,
    '--read',
    path.join(box.base, 'shared'),
    '--write',
    path.join(box.base, 'shared/deep'),
  ];
  const result = await box.python(
    `attempt('read', lambda: read_file('${secret}')); attempt('write', lambda: write_file('${secret}')); report('list', len(os.listdir('${box.base}/shared')))`,
    { flags },
  );
  expectRefused(result, ['read', 'write'], ['EACCES', 'EPERM', 'EROFS', 'EISDIR']);
  expectRefused(result, ['list'], ['1']);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
