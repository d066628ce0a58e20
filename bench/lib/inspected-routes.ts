import path from 'node:path';
import { newWorld } from './certificates.ts';
import type { Context } from './context.ts';
import { count, Helper, text } from './helper.ts';
import { HOSTS, HTTP1_PORT, HTTP2_PORT, WILD } from './inspected-gateway.ts';
import type { Way } from './tls-client.ts';

/** One way of the client to the origin. */
export interface Route {
  readonly name: string;
  readonly http1: Way;
  readonly http2: Way;
  /** The process in between, which tells its processor time. */
  readonly between?: Helper;
}

/** The processes of the inspected subject. */
export interface Stage {
  readonly client: Helper;
  readonly ca: string;
  readonly ports: { readonly h1: number; readonly h2: number };
  readonly routes: readonly Route[];
  readonly noPeer: string | undefined;
  end(): void;
}

const LOOPBACK = '127.0.0.1';

export async function setStage(context: Context): Promise<Stage> {
  const program = (name: string): string => path.join(context.programs, `inspected-${name}.mjs`);
  // The first one is shown to clients that name nobody.
  const world = newWorld([LOOPBACK, WILD, 'localhost']);
  const origin = new Helper('the origin', program('origin'));
  const client = new Helper('the client', program('client'));
  const gateway = new Helper('the gateway', program('gateway'));
  const helpers = [origin, client, gateway];
  const end = (): void => {
    for (const helper of helpers) helper.end();
  };
  try {
    const answer = await origin.ask(world);
    const ports = { h1: count(answer['h1']), h2: count(answer['h2']) };
    const routes = [direct(world.ca, ports), ...(await ours(gateway, { ca: world.ca, ...ports }))];
    const found = context.peer();
    if (found.peer !== undefined) {
      const env = {
        ...context.place.env(),
        NODE_EXTRA_CA_CERTS: context.place.write('origin.pem', world.ca),
      };
      const { node, library } = found.peer;
      const peer = new Helper('srt', program('peer'), { node, args: [library], env });
      helpers.push(peer);
      routes.push(...(await theirs(peer, { ca: world.ca, ...ports })));
    }
    return { client, ca: world.ca, ports, routes, noPeer: found.why, end };
  } catch (error) {
    end();
    throw error;
  }
}

interface Origin {
  readonly ca: string;
  readonly h1: number;
  readonly h2: number;
}

function direct(ca: string, ports: { readonly h1: number; readonly h2: number }): Route {
  const way = (port: number): Way => ({ port, host: HOSTS.read, ca });
  return { name: 'direct', http1: way(ports.h1), http2: way(ports.h2) };
}

async function ours(gateway: Helper, origin: Origin): Promise<readonly Route[]> {
  const door = await gateway.ask(origin);
  return Object.entries(HOSTS).map(([name, host]) => ({
    name: LABELS[name] ?? name,
    http1: through(door, host, HTTP1_PORT, origin.ca),
    http2: through(door, host, HTTP2_PORT, origin.ca),
    between: gateway,
  }));
}

const LABELS: Readonly<Record<string, string>> = {
  opaque: 'glovebox opaque',
  read: 'glovebox inspected',
  scrub: 'glovebox + scrub',
  dlp: 'glovebox + DLP',
  both: 'glovebox + both',
};

/** The way through a gateway that told its port, its root and its placeholders. */
export function through(
  door: Readonly<Record<string, unknown>>,
  host: string,
  port: number,
  originCa: string,
): Way {
  const opaque = host === HOSTS.opaque;
  const keys = door['keys'];
  const key = typeof keys === 'object' && keys !== null ? text(Reflect.get(keys, host)) : '';
  return {
    port: count(door['port']),
    connect: `${host}:${port}`,
    host,
    ca: opaque ? originCa : text(door['ca']),
    ...(opaque ? {} : { key }),
  };
}

async function theirs(peer: Helper, origin: Origin): Promise<readonly Route[]> {
  const door = await peer.ask({ h1: origin.h1, h2: origin.h2 });
  const way = (host: string, port: number, ca: string): Way => ({
    port: count(door['port']),
    connect: `${host}:${port}`,
    proxyAuthorization: text(door['authorization']),
    host,
    ca,
  });
  const inspected = (port: number): Way => way('localhost', port, text(door['ca']));
  const opaque = (port: number): Way => way(LOOPBACK, port, origin.ca);
  return [
    { name: 'srt opaque', http1: opaque(origin.h1), http2: opaque(origin.h2), between: peer },
    { name: 'srt inspected', http1: inspected(origin.h1), http2: inspected(origin.h2), between: peer },
  ];
}
