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
marks, wrong = (b'PRIVATE KEY' + b'-----', b'"d"' + b':"'), []
for pid in [name for name in os.listdir('/proc') if name.isdigit() and name != str(os.getpid())]:
    for what in ('environ', 'mem', 'maps'):
        try:
            with open(f'/proc/{pid}/{what}', 'rb') as file: text = file.read(1 << 20)
        except OSError: continue
        if any(mark in text for mark in marks): wrong.append(f'{pid} {what}')
report('memory', wrong)
control()
`);
  box.expectOnlyControl(result);
  const seen = outcomes(result);
  expect(seen).toMatchObject({ files: '[] of True', ca: '1', 'ca-kind': 'BEGIN CERTIFICATE', env: '[]', memory: '[]' });
  for (const name of ['ca-write', 'bundle-write']) expect(seen[name]).toMatch(/^E(ROFS|ACCES|PERM|BUSY)$/);
});
