// Finds secrets in the caller's kernel keyrings, which no namespace divides. Source: keyrings(7), CVE-2016-0728; Kerberos and fscrypt keys live there.
import { expect } from 'vitest';
import {
  AttackBox,
  expectRecorded,
  expectRefused,
  expectUnseen,
  forEachTier,
  onHost,
  pythonProbe,
  PYTHON,
} from '../support/attack.ts';

const SEARCH = `
attempt('add', lambda: syscall('add_key', b'user', b'planted', b'x', 1, -3))
attempt('request', lambda: syscall('request_key', b'user', b'gbx-canary', None, 0))
for ring in (-1, -2, -3, -4, -5): attempt(f'search{ring}', lambda: syscall('keyctl', 10, ring, b'user', b'gbx-canary', 0))
for path in ('/proc/keys', '/proc/key-users'):
    try: print(read_file(path).decode(), flush=True)
    except OSError as error: print(reason(error))
`;

forEachTier("the caller's session keyring is out of reach", async (tier) => {
  using box = new AttackBox(tier);
  const host = `
syscall('keyctl', 1, None)
key = syscall('add_key', b'user', b'gbx-canary', b'${box.canary}', ${box.canary.length}, -3)
print('planted', key, flush=True)
os.execv(sys.argv[1], sys.argv[1:])
`;
  const result = await onHost(box, [
    PYTHON,
    '-c',
    pythonProbe(host),
    ...box.command([PYTHON, '-c', pythonProbe(SEARCH)]),
  ]);
  expect(result.stdout, result.stderr).toContain('planted');
  const tries = ['add', 'request', 'search-1', 'search-2', 'search-3', 'search-4', 'search-5'];
  expectRefused(result, tries, ['EPERM', 'ENOSYS']);
  expect(result.stdout).not.toContain('gbx-canary:');
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
