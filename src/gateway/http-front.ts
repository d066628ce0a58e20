import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Verdict } from './contract.ts';
import { recordAllow, recordDeny } from './core.ts';
import type { GatewayCore, HttpFront, HttpScope } from './core.ts';
import type { Allowed } from './decide.ts';
import { answerProblem, forward } from './http-forward.ts';
import { judgeRequest, scopePlace } from './http-judge.ts';
import type { RequestHead, RequestVerdict } from './http-judge.ts';
import { PinnedAgent } from './http-pool.ts';
import { forwardUpgrade, isAllowedUpgrade } from './http-upgrade.ts';
import { HttpWatch } from './http-watch.ts';
import { problemBytes, problemOf } from './problem.ts';
import { sayAndClose } from './wire.ts';

interface Connection {
  readonly scope: HttpScope;
  /** Destinations recorded as allowed on this connection. */
  readonly recorded: Set<string>;
  /** A refusal ends a connection: what the parser still finds in its buffer is not looked at. */
  over: boolean;
  /** The latest request, until its answer is out. */
  open: { readonly request: IncomingMessage; readonly response: ServerResponse } | undefined;
}

/** A proxy connection that names more destinations than this is recorded request by request. */
const RECORDED_MAX = 64;

/** Creates the HTTP half of a gateway. */
export function createHttpFront(core: GatewayCore): HttpFront {
  return new Front(core);
}

class Front implements HttpFront {
  readonly #core: GatewayCore;
  readonly #agent: PinnedAgent;
  readonly #watch: HttpWatch;
  readonly #server: Server;
  readonly #connections = new WeakMap<object, Connection>();

  constructor(core: GatewayCore) {
    this.#core = core;
    this.#agent = new PinnedAgent(core);
    this.#watch = new HttpWatch(core.limits);
    this.#server = createServer({
      maxHeaderSize: core.limits.headBytes,
      insecureHTTPParser: false,
      // Own check, so that the refusal leaves a record.
      requireHostHeader: false,
      keepAliveTimeout: 0,
      headersTimeout: 0,
      requestTimeout: 0,
      noDelay: true,
    });
    // The default drops header lines past about 1,000 silently, which would hide a duplicate; lines are counted instead.
    this.#server.maxHeadersCount = 0;
    this.#server.on('request', (request, response) => this.#onRequest(request, response, false));
    this.#server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    this.#server.on('checkExpectation', (request, response) => this.#onExpectation(request, response));
    this.#server.on('upgrade', (request, stream, head) => this.#onUpgrade(request, stream, head));
    this.#server.on('connect', (request, stream) => this.#onConnect(request, stream));
    this.#server.on('clientError', (error, stream) => this.#onClientError(error, stream));
  }

  serve(socket: Socket, scope: HttpScope): void {
    if (socket.destroyed) return;
    this.#connections.set(socket, { scope, recorded: new Set(), over: false, open: undefined });
    this.#watch.add(socket);
    this.#server.emit('connection', socket);
    socket.resume();
  }

  close(): void {
    this.#agent.destroy();
    this.#server.close();
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.get(request.socket);
    if (connection === undefined || connection.over) return void response.destroy();
    this.#opened(connection, request, response);
    const judged = judgeRequest(this.#core, headOf(request), connection.scope);
    if (judged.state === 'refuse') return this.#refuse(connection, { request, response }, judged);
    const { target, path, facts } = judged;
    forward({
      core: this.#core,
      agent: this.#agent,
      entry: connection.scope.entry,
      target,
      path,
      facts,
      request,
      response,
      expectsContinue,
      onAllowed: (address) => this.#recordAllowed(connection, target, address),
    });
  }

  #opened(connection: Connection, request: IncomingMessage, response: ServerResponse): void {
    this.#watch.began(request.socket, request, response);
    const open = { request, response };
    connection.open = open;
    response.once('close', () => {
      if (connection.open === open) connection.open = undefined;
    });
  }

  #refuse(
    connection: Connection,
    open: NonNullable<Connection['open']>,
    refusal: Extract<RequestVerdict, { state: 'refuse' }>,
  ): void {
    connection.over = true;
    recordDeny(this.#core, refusal.place, refusal.verdict);
    answerProblem({ core: this.#core, ...open }, problemOf(refusal.status, refusal.verdict));
  }

  #onExpectation(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.get(request.socket);
    if (connection === undefined || connection.over) return void response.destroy();
    const verdict = malformed('an expectation other than 100-continue');
    this.#refuse(
      connection,
      { request, response },
      { state: 'refuse', status: 417, verdict, place: scopePlace(connection.scope) },
    );
  }

  #onUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    const client = request.socket;
    const connection = this.#connections.get(client);
    this.#watch.release(client);
    client.on('error', () => client.destroy());
    if (connection === undefined || connection.over) return void stream.destroy();
    if (!isAllowedUpgrade(request))
      return this.#refuseRaw(connection, client, 400, malformed('an upgrade other than a WebSocket'));
    const judged = judgeRequest(this.#core, headOf(request), connection.scope);
    if (judged.state === 'refuse') return this.#refuseRaw(connection, client, judged.status, judged.verdict);
    const { target, path, facts } = judged;
    if (facts.body.kind !== 'none')
      return this.#refuseRaw(connection, client, 400, malformed('an upgrade with a body'));
    const onAllowed = (address: string | undefined): void => this.#recordAllowed(connection, target, address);
    const entry = connection.scope.entry;
    forwardUpgrade({
      core: this.#core,
      agent: this.#agent,
      entry,
      target,
      path,
      facts,
      request,
      onAllowed,
      client,
      head,
    });
  }

  #onConnect(request: IncomingMessage, stream: Duplex): void {
    const connection = this.#connections.get(request.socket);
    this.#watch.release(request.socket);
    if (connection === undefined || connection.over) return void stream.destroy();
    const verdict = malformed('CONNECT must be the first request of a connection to the proxy port');
    this.#refuseRaw(connection, request.socket, connection.scope.kind === 'pinned' ? 405 : 400, verdict);
  }

  #onClientError(error: Error & { code?: string }, stream: Duplex): void {
    const connection = this.#connections.get(stream);
    // ECONNRESET and its like are no attempt at anything; HPE_* are (llhttp's parse errors).
    const parse = error.code?.startsWith('HPE_') === true;
    if (!parse || connection === undefined || connection.over || !(stream instanceof Socket))
      return void stream.destroy();
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400;
    this.#refuseRaw(connection, stream, status, malformed(`it is not HTTP/1.1 (${error.code})`));
  }

  /** Refuses where the parser has stopped. An answer that has begun is cut instead: the client must not take it for whole. */
  #refuseRaw(connection: Connection, socket: Socket, status: number, verdict: Verdict): void {
    connection.over = true;
    recordDeny(this.#core, scopePlace(connection.scope), verdict);
    const { open } = connection;
    if (open?.response.headersSent === true) return void socket.destroy();
    if (open !== undefined) return answerProblem({ core: this.#core, ...open }, problemOf(status, verdict));
    sayAndClose(socket, problemBytes(problemOf(status, verdict)), this.#core.limits);
  }

  #recordAllowed(connection: Connection, target: Allowed, address: string | undefined): void {
    const place = `${target.host} ${target.port}`;
    const key = address === undefined ? place : `${place} ${address}`;
    if (connection.recorded.has(key)) return;
    if (connection.recorded.size < RECORDED_MAX) connection.recorded.add(key).add(place);
    recordAllow(this.#core, connection.scope.entry, target, address);
  }
}

function headOf(request: IncomingMessage): RequestHead {
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    httpVersion: request.httpVersion,
    rawHeaders: request.rawHeaders,
  };
}

function malformed(why: string): Verdict {
  return { action: 'deny', rule: 'structural.malformed', reason: `the request is refused: ${why}` };
}
