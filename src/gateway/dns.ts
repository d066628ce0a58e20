import { createSocket } from 'node:dgram';
import type { Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { DNS_QUERY_MAX, readDnsQuery, RCODE, RRTYPE, writeDnsReply } from '../net/dns-message.ts';
import type { DnsQuery } from '../net/dns-message.ts';
import type { Verdict } from './contract.ts';
import { recordAllow, recordDeny } from './core.ts';
import type { GatewayCore } from './core.ts';
import type { Denied } from './decide.ts';

/** Queries on one TCP connection; resolvers send two (A and AAAA). */
const TCP_QUERIES_MAX = 1_000;
const TCP_IDLE_MS = 10_000;

/**
 * Answers one message; undefined: no answer at all. Nothing is ever asked upstream: an allowed name gets its synthetic address, its
 * other types have no data, and every other name does not exist.
 */
export function answerDns(core: GatewayCore, message: Uint8Array): Uint8Array | undefined {
  const read = readDnsQuery(message);
  if (read.state === 'drop') return undefined;
  if (read.state === 'reply') {
    const verdict: Verdict = {
      action: 'deny',
      rule: 'structural.malformed',
      reason: `a DNS query is refused: ${read.why}`,
    };
    recordDeny(core, { entry: 'dns', host: '(none)', port: 53 }, verdict);
    return read.bytes;
  }
  return answerQuery(core, read.query);
}

function answerQuery(core: GatewayCore, query: DnsQuery): Uint8Array {
  // RFC 6761 §6.3: localhost is the sandbox itself, whatever the policy says; no decision, no record.
  if (query.name === 'localhost') return answerLocalhost(query);
  const place = { entry: 'dns', host: query.name, port: 53 } as const;
  const decision = core.judge.decideName(query.name);
  if (decision.action === 'deny') {
    if (core.desk?.asksAbout(decision) === true) return answerUnknown(core, query, decision);
    recordDeny(core, place, decision.verdict);
    return writeDnsReply(query, RCODE.nxDomain);
  }
  const verdict = core.nameGate.admit(query.name, decision.rule) ?? poolProblem(core, query.name);
  if (verdict !== undefined) {
    recordDeny(core, place, verdict);
    return writeDnsReply(query, RCODE.refused);
  }
  recordAllow(core, 'dns', decision);
  return answerAddress(core, query);
}

/** An address for a name that no rule knows, so that a connection to it can be asked about. It opens nothing by itself. */
function answerUnknown(core: GatewayCore, query: DnsQuery, denied: Denied): Uint8Array {
  const place = { entry: 'dns', host: query.name, port: 53 } as const;
  const problem = core.nameGate.admitUnknown(query.name) ?? poolProblem(core, query.name);
  if (problem !== undefined) {
    recordDeny(core, place, problem);
    return writeDnsReply(query, RCODE.nxDomain);
  }
  const reason = `${denied.verdict.reason}; it has an address so that a connection to it can be asked about`;
  core.events.record({ ...place, action: 'allow', rule: 'ask.name', reason });
  return answerAddress(core, query);
}

function answerAddress(core: GatewayCore, query: DnsQuery): Uint8Array {
  // AAAA and all other types: the name exists and has no such data, so programs use A.
  if (query.type !== RRTYPE.a) return writeDnsReply(query, RCODE.ok);
  return writeDnsReply(query, RCODE.ok, core.names.addressOf(query.name));
}

function answerLocalhost(query: DnsQuery): Uint8Array {
  if (query.type === RRTYPE.a) return writeDnsReply(query, RCODE.ok, '127.0.0.1');
  if (query.type === RRTYPE.aaaa) return writeDnsReply(query, RCODE.ok, '::1');
  return writeDnsReply(query, RCODE.ok);
}

function poolProblem(core: GatewayCore, name: string): Verdict | undefined {
  if (core.names.addressOf(name) !== undefined) return undefined;
  return {
    action: 'deny',
    rule: 'structural.names',
    reason: `over ${core.limits.names} names in the life of one sandbox`,
  };
}

/** What `dgram` accepts as an existing socket: the handle that Node hands over between processes. */
interface UdpHandle {
  readonly recvStart: () => unknown;
  readonly getsockname: (out: { family?: string }) => number;
}

/** Serves a UDP socket or a raw UDP handle; returns what closes it. */
export function serveDnsUdp(core: GatewayCore, handle: object): () => Promise<void> {
  const socket = isUdpSocket(handle) ? handle : adoptHandle(handle);
  socket.on('error', () => undefined);
  let open = true;
  socket.on('close', () => {
    open = false;
  });
  socket.on('message', (message, peer) => {
    const reply = answerDns(core, message);
    // A reply that cannot be sent is a lost datagram, as ever with UDP. Answering may have closed the gateway.
    if (reply !== undefined && open) socket.send(reply, peer.port, peer.address, () => undefined);
  });
  return () =>
    new Promise((resolve) => {
      socket.close(() => resolve());
    });
}

interface HandleBinder {
  bind(handle: object): unknown;
}

function adoptHandle(handle: object): UdpSocket {
  const out: { family?: string } = {};
  if (isUdpHandle(handle)) handle.getsockname(out);
  const socket = createSocket(out.family === 'IPv6' ? 'udp6' : 'udp4');
  // `bind` takes a handle as its first argument (lib/dgram.js: "Open an existing fd or handle"); the types do not say so.
  const binder: HandleBinder = socket;
  binder.bind(handle);
  return socket;
}

function isUdpSocket(handle: object): handle is UdpSocket {
  return 'bind' in handle && 'send' in handle && 'on' in handle;
}

function isUdpHandle(handle: object): handle is UdpHandle {
  return 'recvStart' in handle && 'getsockname' in handle;
}

/** Serves DNS over TCP (RFC 7766): two length bytes, then the message; queries are answered in order. */
export function serveDnsTcp(core: GatewayCore, client: Socket): void {
  let pending: Buffer = Buffer.alloc(0);
  let queries = 0;
  client.setTimeout(TCP_IDLE_MS, () => client.destroy());
  client.on('end', () => client.end());
  client.on('data', (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= 2) {
      const length = pending.readUInt16BE(0);
      if (length > DNS_QUERY_MAX || ++queries > TCP_QUERIES_MAX) return client.destroy();
      if (pending.length < 2 + length) break;
      const reply = answerDns(core, pending.subarray(2, 2 + length));
      pending = pending.subarray(2 + length);
      if (reply === undefined) return client.destroy();
      writeFramed(client, reply);
    }
    return undefined;
  });
  // One that came over a relay has been read from, and stands still.
  client.resume();
}

/** A client that asks and does not read is dropped: answers are not kept for it. */
function writeFramed(client: Socket, reply: Uint8Array): void {
  const head = Uint8Array.of(reply.length >> 8, reply.length & 0xff);
  if (!client.destroyed && !client.write(Buffer.concat([head, reply]))) client.destroy();
}
