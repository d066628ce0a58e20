import type { Check } from './contract.ts';
import type { VerifySite } from './site.ts';

/** What `speak` is made of. */
const SPEAKERS = ['bash', 'timeout', 'head', 'sed'];

/** One request, bounded; bash speaks TCP and UDP by itself. What comes back is printed behind `got`. */
function speak(protocol: 'tcp' | 'udp', host: string, port: number): string {
  const talk = `exec 3<>/dev/${protocol}/${host}/${port} && printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3 && head -c 200 <&3 | sed "s/^/got /"`;
  return `timeout 3 bash -c '${talk}'`;
}

/** The gateway refuses a request of HTTP in words of its own. */
const answered = (said: string): string | undefined =>
  /^got /m.test(said) && !said.includes('X-Glovebox-Denied') ? 'something answered' : undefined;

const reached = (said: string, { reached: count }: VerifySite): string | undefined =>
  count > 0 ? 'a listener of the host was reached' : answered(said);

/** An attempt at a host that no rule allows, which the gateway records. */
const refused = (name: string, tries: string, host: string, port: number): Check => ({
  name,
  tries,
  needs: SPEAKERS,
  script: () => speak('tcp', host, port),
  breach: answered,
  record: { host, port },
});

/** Ways to the network. Addresses that are nobody's: RFC 5737, RFC 3849. */
export const NETWORK_CHECKS: readonly Check[] = [
  refused('unlisted address', 'connects to an address that no rule allows', '203.0.113.7', 443),
  refused('metadata service', 'asks the link-local metadata service of clouds', '169.254.169.254', 80),
  refused('IPv6', 'connects by IPv6 to an address that no rule allows', '2001:db8::7', 443),
  {
    name: 'unlisted name',
    tries: 'looks up a name that no rule allows, as its own data could be',
    needs: SPEAKERS,
    script: () => speak('tcp', 'glovebox-verify.invalid', 443),
    breach: answered,
    record: { host: 'glovebox-verify.invalid', port: 53 },
  },
  {
    name: 'listener of the host',
    tries: "connects to a port of the host's loopback address",
    needs: SPEAKERS,
    script: ({ tcpPort }) => `${speak('tcp', '127.0.0.1', tcpPort)}; ${speak('tcp', '::1', tcpPort)}`,
    breach: reached,
  },
  {
    name: 'datagrams',
    tries: "sends UDP to a port of the host's loopback address, and to an address outside",
    needs: SPEAKERS,
    script: ({ udpPort }) => `${speak('udp', '127.0.0.1', udpPort)}; ${speak('udp', '203.0.113.7', 443)}`,
    breach: reached,
  },
];
