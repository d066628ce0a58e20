import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { killGroup } from './process-group.ts';

/** Dead, though perhaps nobody has asked for its status yet. */
function isGone(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  return !existsSync(file) || /\) [ZX] /.test(readFileSync(file, 'utf8'));
}

describe('killGroup', () => {
  it('ends a child and what it started', async () => {
    const child = spawn('/bin/sh', ['-c', 'sleep 300 & echo $!; wait'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    const [said]: unknown[] = await once(child.stdout, 'data');
    const grandchild = Number(String(said));
    expect(isGone(grandchild)).toBe(false);
    killGroup(child);
    expect(await once(child, 'close')).toEqual([null, 'SIGKILL']);
    await expect.poll(() => isGone(grandchild)).toBe(true);
  });

  it('does nothing to one that has ended', async () => {
    const child = spawn('/bin/true', { detached: true });
    await once(child, 'close');
    killGroup(child);
    expect(child.exitCode).toBe(0);
  });
});
