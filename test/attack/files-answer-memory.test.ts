// Makes the host keep gigabytes for one listing: names of 15 KiB each. Source: nothing bounds the length of a path that is walked by descriptor.
import { expect } from 'vitest';
import { isGloveboxError } from '../../src/index.ts';
import { AttackBox, forEachTier, policyTier, PYTHON } from '../support/attack.ts';
import { create } from '../support/sdk.ts';

const DEEP = `
import os
os.mkdir('/tmp/deep'); os.chdir('/tmp/deep')
for _ in range(60): os.mkdir('d' * 255); os.chdir('d' * 255)
for i in range(6000): os.close(os.open(str(i), os.O_CREAT))
`;

forEachTier('a listing does not grow without bounds on the host', async (tier) => {
  using box = new AttackBox(tier);
  await using sandbox = await create(box, { tier: policyTier(tier) });
  await sandbox.commands.run([PYTHON, '-c', DEEP]);
  const listed: unknown = await sandbox.files
    .list('/tmp/deep', { depth: 64 })
    .catch((error: unknown) => error);
  if (!isGloveboxError(listed)) return expect.fail('the listing was answered');
  expect([listed.code, listed.next]).toEqual(['E_LIMIT_EXCEEDED', expect.stringContaining('less at once')]);
  // It is about one answer, and the sandbox lives on.
  expect(await sandbox.files.list('/tmp/deep')).toHaveLength(1);
});
