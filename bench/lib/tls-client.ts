import { once } from 'node:events';
import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';

/** How a TLS origin is reached: straight, or by CONNECT through a proxy. */
export interface Way {
  /** Port of the proxy or of the origin, on 127.0.0.1. */
  readonly port: number;
  /** Name and port of the origin as the proxy knows them; absent: no proxy. */
  readonly connect?: string;
  readonly proxyAuthorization?: string;
  /** The name that is asked for and proven. */
  readonly host: string;
  /** Who signs for it, PEM. */
  readonly ca: string;
  /** Sent as a bearer token with each request. */
  readonly key?: string;
}

const CHUNKS_END = Buffer.from('\r\n0\r\n\r\n');

/** Opens TLS by some way, without resuming a session. */
export async function open(way: Way, alpn = 'http/1.1'): Promise<TLSSocket> {
  const raw = connectPlain({ port: way.port, host: '127.0.0.1', noDelay: true });
  await once(raw, 'connect');
  if (way.connect !== undefined) await tunnel(raw, way.connect, way.proxyAuthorization);
  const name = isIP(way.host) === 0 ? { servername: way.host } : { host: way.host };
  const socket = connectTls({ socket: raw, ca: way.ca, ALPNProtocols: [alpn], ...name });
  await once(socket, 'secureConnect');
  if (alpn === 'h2' && socket.alpnProtocol !== 'h2') {
    socket.destroy();
    throw new Error(`HTTP/2 was offered, ${socket.alpnProtocol || 'nothing'} was chosen`);
  }
  return socket;
}

async function tunnel(raw: Socket, authority: string, authorization: string | undefined): Promise<void> {
  const extra = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`;
  raw.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${extra}\r\n`);
  const [head]: unknown[] = await once(raw, 'data');
  if (!String(head).startsWith('HTTP/1.1 200')) throw new Error(`CONNECT: ${String(head).slice(0, 200)}`);
}

/** The lines that every request bears. */
export function headerLines({ host, key }: Way): string {
  const token = key === undefined ? '' : `Authorization: Bearer ${key}\r\n`;
  return `Host: ${host}\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n${token}`;
}

/** HTTP/1.1 over one connection, one request after another, at as little cost of its own as Node allows. Bodies are counted. */
export class Lane {
  readonly #socket: TLSSocket;
  readonly #lines: string;
  #head = '';
  #left = -1;
  /** The last bytes of a chunked body, which holds none like its end. */
  #tail: Buffer | undefined;
  /** A small answer that came in one piece: the next one of this size is told by its size. */
  #whole = 0;
  #done: ((error?: Error) => void) | undefined;

  private constructor(socket: TLSSocket, way: Way) {
    this.#socket = socket;
    this.#lines = headerLines(way);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => this.#end(new Error('the connection was closed')));
  }

  static async open(way: Way): Promise<Lane> {
    return new Lane(await open(way), way);
  }

  get(path: string): Promise<void> {
    return this.#exchange(`GET ${path} HTTP/1.1\r\n${this.#lines}\r\n`);
  }

  post(path: string, body: Buffer): Promise<void> {
    const type = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
    return this.#exchange(`POST ${path} HTTP/1.1\r\n${this.#lines}${type}\r\n`, body);
  }

  close(): void {
    this.#done = undefined;
    this.#socket.destroy();
  }

  #exchange(head: string, body?: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#done = (error) => {
        this.#done = undefined;
        if (error === undefined) resolve();
        else reject(error);
      };
      this.#socket.write(head, 'latin1');
      if (body !== undefined) this.#socket.write(body);
    });
  }

  #end(error: Error): void {
    this.#done?.(error);
  }

  #take(chunk: Buffer): void {
    if (this.#left < 0 && this.#head === '' && chunk.length === this.#whole && chunk[9] === 50) {
      this.#done?.();
      return;
    }
    if (this.#tail !== undefined) this.#follow(chunk);
    else if (this.#left < 0) this.#readHead(chunk);
    else this.#left -= chunk.length;
    if (this.#left !== 0) return;
    this.#left = -1;
    this.#done?.();
  }

  #follow(chunk: Buffer): void {
    const tail = Buffer.concat([this.#tail ?? Buffer.alloc(0), chunk.subarray(-CHUNKS_END.length)]);
    const isEnd = tail.subarray(-CHUNKS_END.length).equals(CHUNKS_END);
    this.#tail = isEnd ? undefined : tail.subarray(-CHUNKS_END.length);
    this.#left = isEnd ? 0 : -1;
  }

  #readHead(chunk: Buffer): void {
    const whole = this.#head === '';
    this.#head += chunk.toString('latin1');
    const end = this.#head.indexOf('\r\n\r\n');
    if (end < 0) return;
    const length = /^content-length: *(\d+)/im.exec(this.#head.slice(0, end))?.[1];
    if (length === undefined && /^transfer-encoding: *chunked/im.test(this.#head)) {
      this.#head = '';
      return this.#follow(chunk);
    }
    if (!this.#head.startsWith('HTTP/1.1 200') || length === undefined)
      return this.#end(new Error(`unexpected answer: ${this.#head.slice(0, 300)}`));
    this.#left = Number(length) - (this.#head.length - end - 4);
    if (whole && this.#left === 0) this.#whole = chunk.length;
    this.#head = '';
  }
}
