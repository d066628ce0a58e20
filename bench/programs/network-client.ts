import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';

// A small HTTP/1.1 client on bare sockets, so that its own cost hides little: measures bulk, requests on one connection and on many
// at once, and requests on a new connection each. Arguments: URL, `direct` | `proxy` | `tunnel`, MiB, requests, connections. Prints JSON.
// It is copied into a sandbox, so it imports nothing of ours.

const MIB = 1024 * 1024;
const LANES = 16;
const [address = '', way = 'direct', ...counts] = process.argv.slice(2);
const [bulkMiB = 1, requestCount = 1, connectionCount = 1] = counts.map(Number);
const origin = new URL(address);

function proxyUrl(): URL {
  const named = process.env['HTTP_PROXY'] ?? process.env['http_proxy'];
  if (named === undefined) throw new Error('no HTTP_PROXY in the environment');
  return new URL(named);
}

function authorization(): string {
  const { username, password } = proxyUrl();
  if (username === '') return '';
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Proxy-Authorization: Basic ${Buffer.from(pair).toString('base64')}\r\n`;
}

/** One connection that answers requests one after the other. Bodies are counted, not kept. */
class Connection {
  readonly #socket: Socket;
  #head = '';
  #left = -1;
  /** A small answer that came in one piece: the next one of this size is told by its size and its status. */
  #whole = 0;
  #done: ((error?: Error) => void) | undefined;
  #connectReply = false;
  #broken: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async open(): Promise<Connection> {
    const target = way === 'direct' ? origin : proxyUrl();
    const buffer = Buffer.allocUnsafe(256 * 1024);
    const holder: { connection?: Connection } = {};
    const socket = connect({
      host: target.hostname,
      port: Number(target.port),
      noDelay: true,
      onread: {
        buffer,
        callback: (size, bytes) => {
          holder.connection?.take(Buffer.from(bytes.buffer, bytes.byteOffset, size));
          return true;
        },
      },
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject);
    });
    const opened = new Connection(socket);
    holder.connection = opened;
    socket.on('error', (error) => opened.#end(error));
    socket.on('close', () => opened.#end(new Error('the connection was closed')));
    if (way === 'tunnel') await opened.#tunnel();
    return opened;
  }

  request(path: string): Promise<void> {
    const target = way === 'proxy' ? `http://${origin.host}${path}` : path;
    const extra = way === 'proxy' ? authorization() : '';
    return this.#exchange(`GET ${target} HTTP/1.1\r\nHost: ${origin.host}\r\n${extra}\r\n`);
  }

  close(): void {
    this.#done = undefined;
    this.#socket.destroy();
  }

  /** The first reason stays, for the request at hand or the next one. */
  #end(reason: Error): void {
    this.#broken ??= reason;
    this.#done?.(this.#broken);
  }

  #tunnel(): Promise<void> {
    this.#connectReply = true;
    return this.#exchange(
      `CONNECT ${origin.host} HTTP/1.1\r\nHost: ${origin.host}\r\n${authorization()}\r\n`,
    );
  }

  #exchange(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#done = (error) => {
        this.#done = undefined;
        if (error === undefined) resolve();
        else reject(error);
      };
      if (this.#broken === undefined) this.#socket.write(text);
      else this.#done(this.#broken);
    });
  }

  take(bytes: Buffer): void {
    if (this.#left < 0 && this.#head === '' && bytes.length === this.#whole && bytes[9] === 50) {
      this.#done?.();
      return;
    }
    if (this.#left < 0) this.#readHead(bytes);
    else this.#left -= bytes.length;
    if (this.#left !== 0) return;
    this.#left = -1;
    this.#done?.();
  }

  #readHead(bytes: Buffer): void {
    const whole = this.#head === '' && !this.#connectReply;
    this.#head += bytes.toString('latin1');
    const end = this.#head.indexOf('\r\n\r\n');
    if (end === -1) return;
    const head = this.#head.slice(0, end);
    const length = this.#connectReply ? '0' : /^content-length: *(\d+)/im.exec(head)?.[1];
    if (!/^HTTP\/1\.[01] 200/.test(head) || length === undefined) {
      this.#done?.(new Error(`unexpected answer: ${this.#head.slice(0, 300)}`));
      return;
    }
    this.#left = Number(length) - (this.#head.length - end - 4);
    if (whole && this.#left === 0) this.#whole = bytes.length;
    this.#connectReply = false;
    this.#head = '';
  }
}

async function rate(amount: number, work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return amount / ((performance.now() - started) / 1000);
}

async function ask(connection: Connection, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await connection.request('/ok');
}

async function measure(): Promise<Readonly<Record<string, number>>> {
  const connection = await Connection.open();
  await connection.request(`/bytes/${8 * MIB}`);
  const bulk = await rate(bulkMiB, () => connection.request(`/bytes/${bulkMiB * MIB}`));
  // A quarter first: whatever is compiled while it runs, in either program, is so by then.
  await ask(connection, requestCount / 4);
  const requests = await rate(requestCount, () => ask(connection, requestCount));
  connection.close();
  const lanes = await Promise.all(Array.from({ length: LANES }, () => Connection.open()));
  const each = Math.ceil((2 * requestCount) / LANES);
  await Promise.all(lanes.map((lane) => ask(lane, Math.ceil(each / 4))));
  const many = await rate(each * LANES, async () => {
    await Promise.all(lanes.map((lane) => ask(lane, each)));
  });
  for (const lane of lanes) lane.close();
  const connections = await rate(connectionCount, async () => {
    for (let i = 0; i < connectionCount; i++) {
      const fresh = await Connection.open();
      await fresh.request('/ok');
      fresh.close();
    }
  });
  return {
    bulk,
    'keep-alive': requests,
    [`keep-alive, ${LANES} lanes`]: many,
    'new connections': connections,
  };
}

process.stdout.write(`${JSON.stringify(await measure())}\n`);
process.exit(0);
