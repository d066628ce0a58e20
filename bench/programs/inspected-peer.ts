import { pathToFileURL } from 'node:url';
import { answering, count } from '../lib/helper.ts';

// The peer's proxies in a process of their own, by its library (README.md, "As a library"), with `network.tlsTerminate`, an
// ephemeral CA, and `network.filterRequest` looking at method and path as our rule does. Argument: its package. Runs under the
// peer's own Node.js, with NODE_EXTRA_CA_CERTS naming the origin's root. Messages as those of inspected-gateway.

interface Peer {
  initialize(settings: object): Promise<void>;
  getProxyPort(): number | undefined;
  getProxyAuthToken(): string | undefined;
  getMitmCA(): { readonly certPem: string } | undefined;
  reset(): Promise<void>;
}

interface Asked {
  readonly method: string;
  readonly url: string;
}

async function load(): Promise<Peer> {
  const module: unknown = await import(pathToFileURL(process.argv[2] ?? '').href);
  if (!isPeerModule(module)) throw new Error('the peer has no SandboxManager');
  return module.SandboxManager;
}

function isPeerModule(value: unknown): value is { readonly SandboxManager: Peer } {
  return typeof value === 'object' && value !== null && 'SandboxManager' in value;
}

function filterRequest({ method, url }: Asked): Promise<{ readonly action: 'allow' | 'deny' }> {
  const { pathname } = new URL(url);
  const reads = method === 'GET' && pathname.startsWith('/v1/') && !pathname.startsWith('/v1/files/');
  const posts = method === 'POST' && pathname === '/v1/messages';
  return Promise.resolve({ action: reads || posts ? 'allow' : 'deny' });
}

async function start(h1: number, h2: number): Promise<object> {
  const peer = await load();
  await peer.initialize({
    network: {
      allowedDomains: [`localhost:${h1}`, `localhost:${h2}`, `127.0.0.1:${h1}`, `127.0.0.1:${h2}`],
      deniedDomains: [],
      tlsTerminate: { excludeDomains: ['127.0.0.1'] },
      filterRequest,
    },
    filesystem: { denyRead: [], allowWrite: [], denyWrite: [] },
  });
  return {
    port: peer.getProxyPort() ?? 0,
    ca: peer.getMitmCA()?.certPem ?? '',
    authorization: `Basic ${Buffer.from(`srt:${peer.getProxyAuthToken() ?? ''}`).toString('base64')}`,
  };
}

let started = false;
answering(
  (question) => {
    if (!started) {
      started = true;
      return start(count(question['h1']), count(question['h2']));
    }
    const { user, system } = process.cpuUsage();
    return Promise.resolve({ cpu: (user + system) / 1000 });
  },
  async () => (await load()).reset(),
);
