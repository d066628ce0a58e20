// Requests to sign by the thousand, each another one. Source: CWE-779 (logging of excessive data); DESIGN §1.8.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('a flood of refused signatures does not fill the record', async (tier) => {
  const rule = { id: 'ssh', host: 'ssh.wild.test', port: 22, protocol: 'ssh' };
  await using box = new EgressBox(tier, {
    allow: [{ ...rule, hostKeys: [`SHA256:${'A'.repeat(43)}`], keys: ['lent'] }],
  });
  const result = await box.probe(
    `
def text(data): return struct.pack('>I', len(data)) + data
def login(user):
    key = text(b'ssh-ed25519') + text(b'k' * 32)
    data = text(b's' * 32) + b'\\x32' + text(user) + text(b'ssh-connection') + text(b'publickey') + b'\\1' + text(b'ssh-ed25519') + text(key)
    return text(b'\\x0d' + text(key) + text(data) + bytes(4))
with socket.socket(socket.AF_UNIX) as link:
    link.settimeout(20); link.connect(os.environ['SSH_AUTH_SOCK'])
    for first in range(0, 6000, 100):
        link.sendall(b''.join(login(b'u\\x9b\\n%d' % (first + i)) for i in range(100)))
        answers = b''
        while len(answers) < 500: answers += link.recv(4096)
        assert answers == (struct.pack('>I', 1) + b'\\5') * 100
control()
`,
    { hostEnv: box.env({ LLM_API_KEY: box.secret, SSH_AUTH_SOCK: `${box.base}/agent.sock` }) },
  );
  expect(outcomes(result)['control'], result.stderr).toMatch(/^200/);
  const signed = box.records().filter(({ kind }) => kind === 'credential.signed');
  expect(signed.reduce((sum, { data }) => sum + 1 + Number(data['repeats'] ?? 0), 0)).toBe(6000);
  // How many are one depends on how fast they came.
  expect(signed.length).toBeLessThan(6000);
});
