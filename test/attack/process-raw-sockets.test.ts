// Sends ICMP, raw and packet data past a gateway that sees TCP only. Source: code-on-incus #475 (ICMP, raw); ping tunnels.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('raw, ICMP, SCTP, DCCP and MPTCP sockets are refused', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for family in (2, 10):
    for name, kind, protocol in (('raw', 3, 1), ('raw-udp', 3, 17), ('raw-all', 3, 255), ('ping', 2, 1 if family == 2 else 58), ('sctp', 1, 132), ('sctp-seq', 5, 132), ('dccp', 6, 33), ('udplite', 2, 136), ('mptcp', 1, 262), ('packet', 10, 3)):
        attempt(f'{name} {family}', lambda: socket.socket(family, kind, protocol).close())
`);
  const names = [
    'raw',
    'raw-udp',
    'raw-all',
    'ping',
    'sctp',
    'sctp-seq',
    'dccp',
    'udplite',
    'mptcp',
    'packet',
  ];
  expectRefused(
    result,
    names.flatMap((name) => [`${name} 2`, `${name} 10`]),
    ['EPERM', 'EPROTONOSUPPORT', 'EAFNOSUPPORT', 'ESOCKTNOSUPPORT'],
  );
  expectRecorded(box);
});
