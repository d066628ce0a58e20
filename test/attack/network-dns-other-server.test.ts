// Asks another resolver: a public one, by UDP, TCP and the ports of DNS over TLS and HTTPS. Source: sandy #154; E2B opens 8.8.8.8.
import { AttackBox, expectDenied, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('no other resolver is reached, the gateway answers for all', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
def tcp(server):
    query = dns_query('tcp.example.com')
    with socket.create_connection((server, 53), 5) as link:
        link.sendall(struct.pack('>H', len(query)) + query)
        answer = link.recv(4096)
    return answer[5] & 15
for server in ('8.8.8.8', '1.1.1.1', '192.0.2.53'):
    report('udp ' + server, dns_udp(server, 'udp.example.com')[0])
    report('tcp ' + server, tcp(server))
attempt('dot', lambda: talk(('1.1.1.1', 853), client_hello('one.one.one.one')))
attempt('doh', lambda: talk(('1.1.1.1', 443), client_hello('one.one.one.one')))
`);
  const servers = ['8.8.8.8', '1.1.1.1', '192.0.2.53'];
  expectRefused(
    result,
    servers.flatMap((server) => [`udp ${server}`, `tcp ${server}`]),
    ['3'],
  );
  expectRefused(result, ['dot', 'doh'], ['ECONNRESET', 'ECONNREFUSED', 'EPIPE']);
  expectDenied(box, { host: 'udp.example.com', entry: 'dns' });
  expectDenied(box, { host: 'tcp.example.com', entry: 'dns' });
  expectDenied(box, { host: '1.1.1.1', port: 853 });
});
