// Sends broken DNS messages: loops of pointers, NUL and dots in labels, many questions, other opcodes. Source: CVE-2020-8616 family; OpenShell #1498.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('broken DNS messages are refused and the gateway lives on', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
head = struct.pack('>HHHHHH', 7, 0x0100, 1, 0, 0, 0)
tail = struct.pack('>HH', 1, 1)
cases = dict(
    loop=head + b'\\xc0\\x0c' + tail, nul=dns_query([b'evil.com\\0', b'allowed', b'example']), dot=dns_query([b'evil.allowed', b'example']),
    many=struct.pack('>HHHHHH', 7, 0x0100, 99, 0, 0, 0) + b'\\1a\\0' + tail, update=struct.pack('>HHHHHH', 7, 0x2800, 1, 0, 0, 0) + b'\\1a\\0' + tail,
    cut=head + b'\\x3fabc', long=dns_query([b'a' * 63] * 5), answer=struct.pack('>HHHHHH', 7, 0x8180, 1, 1, 0, 0) + b'\\1a\\0' + tail, empty=b'', noise=os.urandom(300))
for name, wire in cases.items():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(0.2); link.connect(('127.0.0.1', 53)); link.send(wire)
        try: answer = link.recv(4096)
        except TimeoutError: answer = b''
        report(name, 'answers' if len(answer) > 7 and struct.unpack('>H', answer[6:8])[0] else 'none')
report('alive', dns_udp('127.0.0.1', 'allowed.example'))
`,
    { flags: ['--allow', 'allowed.example'] },
  );
  expect(result.stdout.match(/=none/g)).toHaveLength(10);
  expect(result.stdout, result.stderr).toContain('alive=(0, 1)');
  expectRecorded(box);
});
