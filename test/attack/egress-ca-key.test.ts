// Looks for the private key of the sandbox's CA: in files, in the environment, in memory. Source: EGRESS §3 (CA handling); mitmproxy's shared CA.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('the key of the CA is nowhere in the sandbox', async (tier) => {
  await using box = new EgressBox(tier);
  const result = await box.probe(`
import glob
keys, seen = [], 0
for root in ('/.glovebox', '/etc/ssl', '/tmp', '/run', '/dev/shm', os.path.expanduser('~'), os.getcwd()):
    for path, _, names in os.walk(root):
        for name in names[:500]:
            try: text = open(os.path.join(path, name), 'rb').read(2 << 20)
            except OSError: continue
            seen += 1
            if b'PRIVATE KEY-----' in text and b'CERTIFICATE' not in name.encode(): keys.append(os.path.join(path, name))
report('files', f'{keys} of {seen > 3}')
report('ca', open('/.glovebox/ca.pem').read().count('-----BEGIN'))
report('ca-kind', open('/.glovebox/ca.pem').read().split('-----')[1])
attempt('ca-write', lambda: write_file('/.glovebox/ca.pem'))
attempt('bundle-write', lambda: write_file(os.environ['SSL_CERT_FILE']))
report('env', [name for name, value in os.environ.items() if 'PRIVATE' in value])
import subprocess
marks = dict(key=b'PRIVATE KEY' + b'-----', jwk=b'"d"' + b':"', known=b'KNOWN' + b'-MARK')
# The known mark stands in a child of ours, so that the search is seen to work.
child = subprocess.Popen([sys.executable, '-c', 'a = "KNOWN" + "-MARK" * 40; print(1, flush=True); input()'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
def memory(pid):
    text = b''
    for line in open(f'/proc/{pid}/maps'):
        low, high = (int(part, 16) for part in line.split()[0].split('-'))
        if 'r' not in line.split()[1] or len(text) > 64 << 20: continue
        try:
            with open(f'/proc/{pid}/mem', 'rb', 0) as file:
                file.seek(low)
                text += file.read(min(high - low, 8 << 20))
        except (OSError, ValueError, OverflowError): pass
    return text
found, shut = {}, 0
for pid in [name for name in os.listdir('/proc') if name.isdigit() and name != str(os.getpid())]:
    try: text = memory(pid)
    except OSError: text = b''
    shut += not text
    for name, mark in marks.items():
        if mark in text: found.setdefault(name, []).append('child' if pid == str(child.pid) else pid)
child.communicate(b'')
report('memory', json.dumps(found))
report('shut', shut)
control()
`);
  box.expectOnlyControl(result);
  const seen = outcomes(result);
  expect(seen).toMatchObject({
    files: '[] of True',
    ca: '1',
    'ca-kind': 'BEGIN CERTIFICATE',
    env: '[]',
    memory: '{"known": ["child"]}',
  });
  for (const name of ['ca-write', 'bundle-write']) expect(seen[name]).toMatch(/^E(ROFS|ACCES|PERM|BUSY)$/);
});
