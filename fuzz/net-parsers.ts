import { parseAuthority } from '../src/net/authority.ts';
import { readClientHello } from '../src/net/client-hello.ts';
import { readConnectHead } from '../src/net/connect-head.ts';
import { RCODE, readDnsQuery, writeDnsReply } from '../src/net/dns-message.ts';
import { parseHostPattern } from '../src/net/host-pattern.ts';
import { judgeHead, readAbsoluteTarget, requestHeaders } from '../src/net/http-head.ts';
import { judgeAddress } from '../src/net/ip-class.ts';
import { parseIp } from '../src/net/ip.ts';
import { canonicalName } from '../src/net/name.ts';
import { readSocksGreeting, readSocksRequest } from '../src/net/socks5.ts';

/** One parser under test: it must hold its promises for any bytes, and must never throw. */
export interface FuzzTarget {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  readonly run: (bytes: Uint8Array) => void;
}

export const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
export const text = (input: Uint8Array): string => Buffer.from(input).toString('latin1');

/** Fails the target with the promise that was broken. */
export function promise(holds: boolean, what: string): void {
  if (!holds) throw new Error(`broken promise: ${what}`);
}

/** A ClientHello for api.test with ALPN h2. */
const HELLO = Buffer.from(
  `16030100520100004e0303${'0'.repeat(64)}00000413011302010000210000000d000b0000086170692e74657374002b0003020304001000050003026832`,
  'hex',
);

export const NET_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'name',
    seeds: ['api.example.com.', 'xn--bcher-kva.test', '127.1', '_a-b.c'].map(bytes),
    run: (input) => {
      const result = canonicalName(text(input));
      if (!result.ok) return;
      promise(/^[a-z0-9_.-]{1,253}$/.test(result.name), 'canonical names are lower-case LDH and "_"');
      promise(parseIp(result.name) === undefined, 'a name is never an address');
      const again = canonicalName(result.name);
      promise(again.ok && again.name === result.name, 'canonical is idempotent');
    },
  },
  {
    name: 'ip',
    seeds: ['192.0.2.1', '2001:db8::1', '::ffff:1.2.3.4', '1:2:3:4:5:6:7:8'].map(bytes),
    run: (input) => {
      const ip = parseIp(text(input));
      if (ip === undefined) return;
      promise(ip.bytes.length === (ip.version === 4 ? 4 : 16), 'byte count');
      promise(parseIp(ip.text)?.text === ip.text, 'the text form is idempotent');
      promise(judgeAddress(ip).what !== '', 'every address has a class');
    },
  },
  {
    name: 'host-pattern',
    seeds: ['*.example.com', 'api.example.com', '*.co.uk', 'https://a.test/x', '[::1]:443'].map(bytes),
    run: (input) => {
      const result = parseHostPattern(text(input));
      if (!result.ok) return promise(result.why !== '', 'a refusal has a reason');
      const again = parseHostPattern(result.pattern.host);
      promise(again.ok && again.pattern.host === result.pattern.host, 'a pattern parses to itself');
    },
  },
  {
    name: 'authority',
    seeds: ['api.test:443', '[2606:4700::1]:80', '1.2.3.4:1'].map(bytes),
    run: (input) => {
      const result = parseAuthority(text(input));
      if (result.ok) promise(result.port > 0 && result.port < 65_536, 'ports are 1 to 65535');
    },
  },
  {
    name: 'connect-head',
    seeds: [bytes('CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\nrest')],
    run: (input) => {
      const result = readConnectHead(input);
      if (result.state === 'connect')
        promise(
          text(input).slice(result.used - 4, result.used) === '\r\n\r\n',
          'the head ends where it says',
        );
    },
  },
  {
    name: 'http-head',
    seeds: [
      bytes('POST|http://api.test/a?b|Host|api.test|Content-Length|5|Connection|x'),
      bytes('GET|/|Host|a.test:80|Transfer-Encoding|chunked'),
    ],
    run: (input) => {
      const [method = '', target = '', ...headers] = text(input).split('|');
      const facts = judgeHead(method, '1.1', headers);
      const absolute = readAbsoluteTarget(target);
      if (absolute.ok) promise(absolute.path.startsWith('/'), 'paths begin with "/"');
      if (!facts.ok) return;
      const out = requestHeaders(headers, facts, 'api.test', 80);
      const names = out.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
      promise(names.filter((name) => name === 'host').length === 1, 'exactly one Host goes up');
      promise(
        names.filter((name) => ['content-length', 'transfer-encoding'].includes(name)).length <= 1,
        'one framing goes up',
      );
      promise(!names.includes('connection'), 'no hop-by-hop header goes up');
    },
  },
  {
    name: 'client-hello',
    seeds: [HELLO, HELLO.subarray(0, 20)],
    run: (input) => {
      const result = readClientHello(input);
      if (result.state !== 'hello' || result.hello.serverName === undefined) return;
      const name = canonicalName(result.hello.serverName);
      promise(name.ok && name.name === result.hello.serverName, 'server names are canonical');
    },
  },
  {
    name: 'dns',
    seeds: [Buffer.from('1234010000010000000000000361706904746573740000010001', 'hex')],
    run: (input) => {
      const result = readDnsQuery(input);
      if (result.state === 'reply') promise(result.bytes.length === 12, 'refusals echo nothing');
      if (result.state !== 'query') return;
      promise(canonicalName(result.query.name).ok, 'question names are canonical');
      const reply = writeDnsReply(result.query, RCODE.ok, '198.18.0.1');
      promise(reply.length <= 512, 'answers fit in 512 bytes');
    },
  },
  {
    name: 'socks5',
    seeds: [Uint8Array.of(5, 1, 0), Buffer.from('05010003086170692e7465737401bb', 'hex')],
    run: (input) => {
      for (const step of [readSocksGreeting(input), readSocksRequest(input)]) {
        if ('used' in step) promise(step.used <= input.length, 'no step uses more than there is');
      }
    },
  },
];

/** As `FuzzTarget`, for what works in steps: streams, files, connections. */
export interface AsyncFuzzTarget extends Pick<FuzzTarget, 'name' | 'seeds'> {
  readonly run: (bytes: Uint8Array) => Promise<void>;
}

/** How often a target is run, and from which seed; deterministic, so a failure is its own reproduction. */
export interface FuzzRun {
  readonly seed: number;
  readonly iterations: number;
}

/** Runs one target `iterations` times. */
export function fuzz(target: FuzzTarget, seed: number, iterations: number): void {
  for (const { input, place } of inputs(target, { seed, iterations })) {
    try {
      target.run(input);
    } catch (error) {
      throw new Error(place, { cause: error });
    }
  }
}

/** As `fuzz`. */
export async function fuzzAsync(target: AsyncFuzzTarget, run: FuzzRun): Promise<void> {
  for (const { input, place } of inputs(target, run)) {
    try {
      await target.run(input);
    } catch (error) {
      throw new Error(place, { cause: error });
    }
  }
}

function* inputs(
  target: Pick<FuzzTarget, 'name' | 'seeds'>,
  { seed, iterations }: FuzzRun,
): Generator<{ readonly input: Uint8Array; readonly place: string }, void, void> {
  const random = generator(seed);
  for (let i = 0; i < iterations; i++) {
    const input = mutate(target.seeds[random(target.seeds.length)] ?? new Uint8Array(), random);
    yield {
      input,
      get place() {
        return `${target.name}, seed ${seed}, iteration ${i}: ${Buffer.from(input).toString('hex')}`;
      },
    };
  }
}

type Random = (below: number) => number;

/** mulberry32: small, seedable, good enough to find parser faults. */
function generator(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function mutate(seed: Uint8Array, random: Random): Uint8Array {
  const out = Array.from(seed);
  const interesting = [0, 1, 10, 13, 32, 37, 42, 45, 46, 47, 58, 64, 91, 93, 127, 128, 192, 255];
  for (let count = random(6); count >= 0; count--) {
    const at = random(out.length + 1);
    const byte = random(2) === 0 ? random(256) : (interesting[random(interesting.length)] ?? 0);
    const kind = random(5);
    if (kind === 0) out.splice(at, 1);
    else if (kind === 1) out.splice(at, 0, byte);
    else if (kind === 2) out[Math.min(at, Math.max(0, out.length - 1))] = byte;
    else if (kind === 3) out.splice(at, 0, ...out.slice(random(out.length + 1), at + random(16)));
    else out.length = at;
  }
  return Uint8Array.from(out.slice(0, 100_000));
}
