import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { expectRecorded, expectRefused, isRoot, outcomes, type AttackBox } from './attack.ts';

const NOBODY = 65_534;

/** Why `expectNoPrivilege` cannot be asked here. */
export const noPrivileges =
  isRoot && existsSync('/dev/fuse')
    ? undefined
    : 'only root can plant them, and the host needs a /dev/fuse to open';

/** What the host's root left in the workspace, a set-user-ID program and a device, gives nothing inside; on the host both do. */
export async function expectNoPrivilege(box: AttackBox): Promise<void> {
  const tool = path.join(box.workspace, 'as-nobody');
  copyFileSync('/usr/bin/id', tool);
  chownSync(tool, NOBODY, NOBODY);
  chmodSync(tool, 0o6755);
  const device = path.join(box.workspace, 'fuse');
  spawnSync('mknod', ['-m', '0666', device, 'c', '10', '229']);
  expect(spawnSync(tool, ['-u'], { encoding: 'utf8' }).stdout).toBe(`${NOBODY}\n`);
  expect(spawnSync('bash', ['-c', `exec 3<>${device}`]).status).toBe(0);
  const result = await box.python(`
report('ids', [os.popen('./as-nobody ' + flag).read().strip() for flag in ('-u', '-g', '-ru')])
attempt('device', lambda: os.open('fuse', os.O_RDWR))
`);
  expect(outcomes(result)['ids']).toBe("['1000', '1000', '1000']");
  expectRefused(result, ['device'], ['EACCES', 'EPERM', 'ENXIO']);
  expectRecorded(box);
}

/** A client that starts containers without the mount of one name, as an engine with a fault would. Returns its path. */
export function clientWithout(box: AttackBox, name: string, client: string): string {
  const file = path.join(box.base, 'client');
  const script = `#!/bin/bash
words=()
while [ $# -gt 0 ]; do
  if [ "$1" = --mount ] && [[ "$2," == *"/${name},"* ]]; then shift 2; continue; fi
  words+=("$1"); shift
done
exec ${client} "\${words[@]}"
`;
  writeFileSync(file, script);
  chmodSync(file, 0o755);
  return file;
}
