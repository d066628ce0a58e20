// The files of the SDK are asked for what the policy denies and protects. Source: file APIs of sandbox platforms that run beside the
// policy of commands instead of under it (path traversal reports, 2025).
import { readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { isGloveboxError, Sandbox } from '../../src/index.ts';
import { AttackBox, expectRecorded, forEachTier, policyTier } from '../support/attack.ts';

const PERMISSION = expect.objectContaining({ code: 'E_FILE_PERMISSION' });

forEachTier('denied and protected files are refused to the file API as to commands', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('.env', box.workspace);
  const outside = box.plant('outside');
  box.write('Makefile', 'all:\n');
  symlinkSync('.env', path.join(box.workspace, 'alias'));
  symlinkSync(outside, path.join(box.workspace, 'out'));
  await using sandbox = await Sandbox.create({
    tier: policyTier(tier),
    workspace: box.workspace,
    hostEnv: box.env(),
    deny: ['.env'],
    policy: { version: 1, filesystem: { protect: ['Makefile'] } },
  });
  const { files } = sandbox;
  for (const denied of ['.env', 'alias']) {
    await expect(files.read(denied)).rejects.toThrow(PERMISSION);
    await expect(files.write(denied, 'mine')).rejects.toThrow(PERMISSION);
  }
  const refused = await Promise.allSettled([
    files.write('.env', 'mine', { atomic: true }),
    files.remove('.env'),
    files.rename('.env', 'copy'),
    files.write('Makefile', 'mine'),
    files.write('Makefile', 'mine', { atomic: true }),
    files.remove('Makefile'),
    files.write('own', 'x').then(() => files.rename('own', 'Makefile')),
    files.write('/etc/passwd', 'x'),
    files.write('/usr/bin/x', 'x', { atomic: true }),
    files.makeDir('/usr/local/new'),
    files.remove('/usr'),
  ]);
  for (const result of refused)
    expect(result).toMatchObject({ reason: { code: expect.stringMatching(/^E_FILE_(PERMISSION|BUSY)$/) } });
  expect(await files.read('Makefile')).toBe('all:\n');
  await expect(files.read('out')).rejects.toMatchObject({ code: 'E_FILE_NOT_FOUND' });
  await expect(files.read('/etc/shadow')).rejects.toMatchObject({ code: expect.stringMatching(/^E_FILE_/) });
  // Directories that hold something protected go as far as the protected thing.
  await expect(files.remove(box.workspace)).rejects.toMatchObject({
    code: expect.stringMatching(/^E_FILE_(PERMISSION|BUSY)$/),
  });
  expect(readFileSync(secret, 'utf8')).toBe(`${box.canary}\n`);
  expect(readFileSync(path.join(box.workspace, 'Makefile'), 'utf8')).toBe('all:\n');
  expect(readFileSync(outside, 'utf8')).toBe(`${box.canary}\n`);
});

forEachTier(
  'a path that is swapped all the time leads the file API nowhere that commands cannot go',
  async (tier) => {
    using box = new AttackBox(tier);
    box.plant('.env', box.workspace);
    const outside = box.plant('outside');
    box.write('target', 'harmless');
    await using sandbox = await Sandbox.create({
      tier: policyTier(tier),
      workspace: box.workspace,
      hostEnv: box.env(),
      deny: ['.env'],
    });
    const swap = `while :; do
  ln -sfn .env name; ln -sfn ${outside} name; ln -sfn /proc/self/mem name; ln -sfn /proc/1/environ name; rm -f name; mkfifo name
  rm -f name; echo harmless > name; rm -f name; mkdir -p name; rmdir name
done`;
    await using swapping = sandbox.commands.start(swap);
    await swapping.pid;
    for (let i = 0; i < 100; i++) {
      const content = await sandbox.files.read('name').catch((error: unknown) => {
        expect(isGloveboxError(error)).toBe(true);
        return '';
      });
      expect(content).not.toContain(box.canary);
      const write = i % 2 === 0 ? {} : { atomic: true };
      await sandbox.files.write('name', 'harmless\n', write).catch(() => undefined);
    }
    // The calls did work all the while: the same ones do on a name that stays.
    await sandbox.files.write('stays', 'harmless\n');
    expect(await sandbox.files.read('stays')).toBe('harmless\n');
    expect(readFileSync(outside, 'utf8')).toBe(`${box.canary}\n`);
    expect(readFileSync(path.join(box.workspace, '.env'), 'utf8')).toBe(`${box.canary}\n`);
    await sandbox.kill();
    expectRecorded(box);
  },
);

forEachTier('a tree that is moved while it is removed takes nothing else along', async (tier) => {
  using box = new AttackBox(tier);
  box.write('kept/deep/file', 'kept');
  await using sandbox = await Sandbox.create({
    tier: policyTier(tier),
    workspace: box.workspace,
    hostEnv: box.env(),
  });
  await using moving = sandbox.commands.start(`while :; do
  mkdir -p gone/a/b 2>/dev/null; touch gone/a/b/{1..50} 2>/dev/null; mv gone/a kept/moved 2>/dev/null; mv kept/moved gone/a 2>/dev/null
  ln -sfn ../kept/deep gone/b 2>/dev/null; rm -rf kept/moved
done`);
  await moving.pid;
  for (let i = 0; i < 100; i++)
    await sandbox.files.remove('gone').catch((error: unknown) => {
      expect(error).toMatchObject({ code: expect.stringMatching(/^E_(FILE_|IO)/) });
    });
  expect(readFileSync(path.join(box.workspace, 'kept/deep/file'), 'utf8')).toBe('kept');
  await sandbox.kill();
  expectRecorded(box);
});
