// Writes terminal codes and fake lines into denial messages. Source: CVE-2003-0063 family; a host name is the attacker's text.
import { AttackBox, expectEvent, forEachTier } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('names reach terminal and log escaped', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
for label in (b'a\\x1b]0;owned\\x07', b'b\\x1b[2J', b'c\\r\\nglovebox: allowed', b'd\\xe2\\x80\\xae'):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(0.3); link.connect(('127.0.0.1', 53)); link.send(dns_query([label, b'example', b'com']))
        try: link.recv(512)
        except TimeoutError: pass
    try: connect_by_proxy(label + b'.example.com:443')
    except OSError: pass
    with socket.create_connection(port_in('all_proxy'), 5) as link:
        link.sendall(b'\\5\\1\\0'); link.recv(2)
        link.sendall(b'\\5\\1\\0\\3' + bytes([len(label)]) + label + b'\\1\\xbb')
        try: link.recv(64)
        except OSError: pass
`,
    { flags: ['--verbose'] },
  );
  expect(result.code, result.stderr).toBe(0);
  expect(result.stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  expect(result.stderr).not.toMatch(/^glovebox: allowed/m);
  const verdicts = box.records().filter((record) => record.kind === 'network.verdict');
  for (const { data } of verdicts)
    expect(Object.values(data).join(' ')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
  expectEvent(box, 'network.verdict', { action: 'deny' });
});
