// Opens sockets of rarely used families: kernel code for an exploit, or a way past the gateway. Source: CVE-2021-22555 family, CVE-2017-7308, CVE-2023-32233.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

const FAMILIES = {
  ax25: 3,
  ipx: 4,
  x25: 9,
  key: 15,
  packet: 17,
  rds: 21,
  can: 29,
  tipc: 30,
  bluetooth: 31,
  alg: 38,
  nfc: 39,
  vsock: 40,
  kcm: 41,
  qipcrtr: 42,
  smc: 43,
  xdp: 44,
  mctp: 45,
};

forEachTier('only unix, internet and route sockets exist', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for name, family in ${JSON.stringify(FAMILIES)}.items():
    for kind in (1, 2, 3, 5): attempt(f'{name} {kind}', lambda: socket.socket(family, kind, 0).close())
    attempt(f'{name} pair', lambda: libc.socketpair(family, 1, 0, (ctypes.c_int * 2)()) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
`);
  const names = Object.keys(FAMILIES).flatMap((name) =>
    ['1', '2', '3', '5', 'pair'].map((kind) => `${name} ${kind}`),
  );
  expectRefused(result, names, ['EAFNOSUPPORT', 'EPERM', 'EPROTONOSUPPORT']);
  expectRecorded(box);
});
