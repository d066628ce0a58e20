// Talks netlink: filters, audit, netfilter, and changes of the route that leads to the gateway. Source: CVE-2024-1086 (nf_tables), netlink(7), rtnetlink(7).
import { AttackBox, expectRecorded, expectRefused, forEachTier, inGuest } from '../support/attack.ts';

forEachTier('netlink is for reading routes only', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for name, protocol in (('netfilter', 12), ('audit', 9), ('xfrm', 6), ('generic', 16), ('kobject', 15), ('crypto', 21), ('sock-diag', 4), ('connector', 11), ('rdma', 20)):
    attempt(name, lambda: socket.socket(16, 3, protocol).close())
def change(kind, flags, body):
    with socket.socket(16, 3, 0) as link:
        link.send(struct.pack('IHHII', 16 + len(body), kind, flags | 5, 1, 0) + body)
        code = struct.unpack('i', link.recv(4096)[16:20])[0]
        if code: raise OSError(-code, '')
attempt('set link', lambda: change(16, 0, struct.pack('BxHiII', 0, 0, 1, 1, 1)))
attempt('add link', lambda: change(16, 0x600, struct.pack('BxHiII', 0, 0, 0, 0, 0) + struct.pack('HH8s', 12, 3, b'evil0')))
attempt('del route', lambda: change(25, 0, struct.pack('BBBBBBBBI', 2, 0, 0, 0, 255, 0, 254, 2, 0)))
attempt('add route', lambda: change(24, 0x600, struct.pack('BBBBBBBBI', 2, 8, 0, 0, 254, 4, 253, 1, 0) + struct.pack('HHI', 8, 1, 10) + struct.pack('HHI', 8, 4, 1)))
attempt('add address', lambda: change(20, 0x600, struct.pack('BBBBI', 2, 8, 0, 0, 1) + struct.pack('HHI', 8, 2, 0x0100000a)))
`);
  expectRefused(
    result,
    ['netfilter', 'audit', 'xfrm', 'generic', 'kobject', 'crypto', 'sock-diag', 'connector', 'rdma'],
    ['EPROTONOSUPPORT', 'EPERM', 'EAFNOSUPPORT'],
  );
  expectRefused(
    result,
    ['set link', 'add link', 'del route', 'add route', 'add address'],
    ['EPERM', ...inGuest(tier, 'EACCES')],
  );
  expectRecorded(box);
});
