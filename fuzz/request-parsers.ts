import { GrpcMessages } from '../src/net/grpc.ts';
import { readGraphqlBody } from '../src/net/graphql-scan-request.ts';
import { readGraphql } from '../src/net/graphql-scan.ts';
import { parsePathGlob } from '../src/net/http-path-glob.ts';
import { canonicalPath } from '../src/net/http-path.ts';
import { looseQuery, QUERY_PARAMETERS_MAX, readQuery } from '../src/net/http-query.ts';
import { ChunkedDecoder } from '../src/net/http1-body.ts';
import { readRequestHead, readResponseHead } from '../src/net/http1-head.ts';
import { readMcp } from '../src/net/json-rpc.ts';
import { NO_VISITOR, scanJson } from '../src/net/json-scan.ts';
import { bypassesProxy, parseNoProxyEntry } from '../src/net/no-proxy.ts';
import { readSessionBind, readUserAuth, SshReader, sshString, verifySsh } from '../src/net/ssh-wire.ts';
import { WsAssembler } from '../src/net/ws-frames-message.ts';
import { WS_OPCODE, WsReader, writeWsFrame } from '../src/net/ws-frames.ts';
import { bytes, promise, text } from './net-parsers.ts';
import type { FuzzTarget } from './net-parsers.ts';

const CAPS = { bytes: 4_096, lines: 32 } as const;
const FRAME = { frameBytes: 4_096, messageBytes: 8_192 } as const;

/** Parsers of what is inside a connection: requests, bodies, frames. */
export const REQUEST_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'path',
    seeds: ['/v1/repos/x', '/a%20b/c%C3%A9', '/a/../b', '/%2e%2e/x', '/a;b=c', '//x', '/a%2fb'].map(bytes),
    run: (input) => {
      for (const slash of ['deny', 'allow'] as const) {
        const read = canonicalPath(text(input), slash);
        if (!read.ok) continue;
        promise(/^\/[\x21-\x7e]*$/.test(read.path), 'canonical paths are printable ASCII');
        promise(
          !/(?:^|\/)\.{1,2}(?:\/|$)/.test(decodeURIComponent(read.path)),
          'no dot segments in any spelling',
        );
        const again = canonicalPath(read.path, slash);
        promise(again.ok && again.path === read.path, 'canonical is idempotent');
      }
      parsePathGlob(text(input), 'allow');
    },
  },
  {
    name: 'query',
    seeds: ['a=1&b=2', 'a=%31&a=2', 'key&=x&%6bey=1', 'a=1;b=2'].map(bytes),
    run: (input) => {
      const query = text(input);
      const read = readQuery(query, new Set(['a', 'key']));
      if (read.ok) promise(read.parameters.length <= QUERY_PARAMETERS_MAX, 'parameters are bounded');
      for (const { names } of looseQuery(query)) promise(names.size > 0, 'a loose parameter has a name');
    },
  },
  {
    name: 'http1-request',
    seeds: [
      bytes('POST /a?b HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\n\r\nhello'),
      bytes('GET http://a.test/ HTTP/1.0\r\nA: b\r\n\r\n'),
    ],
    run: (input) => headPromises(input, (part) => readRequestHead(part, CAPS)),
  },
  {
    name: 'http1-response',
    seeds: [
      bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
      bytes('HTTP/1.0 404\r\nX: y\r\n\r\n'),
    ],
    run: (input) => headPromises(input, (part) => readResponseHead(part, CAPS)),
  },
  {
    name: 'chunked',
    seeds: [bytes('5\r\nhello\r\n0\r\n\r\nrest'), bytes('a;x=y\r\n0123456789\r\n00\r\nT: v\r\n\r\n')],
    run: (input) => {
      const whole = decodeChunked([input]);
      const single = decodeChunked(Array.from(input, (byte) => Uint8Array.of(byte)));
      promise(whole === single, 'the pieces that a body comes in change nothing');
    },
  },
  {
    name: 'json',
    seeds: ['{"a":[1,-2.5e3,true,null,"\\u00e9"]}', '[{"a":1},{"b":{"c":[]}}]', '{"a":1,"\\u0061":2}'].map(
      bytes,
    ),
    run: (input) => {
      if (!scanJson(input, undefined, NO_VISITOR).ok) return;
      JSON.parse(Buffer.from(input).toString('utf8'));
    },
  },
  {
    name: 'mcp',
    seeds: [
      bytes('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{}}}'),
      bytes('[{"jsonrpc":"2.0","method":"ping"},{"jsonrpc":"2.0","id":1,"result":{}}]'),
    ],
    run: (input) => {
      const read = readMcp(input);
      if (!read.ok) return promise(read.why !== '', 'a refusal has a reason');
      promise(read.messages.length > 0, 'what is read has a message');
      JSON.parse(Buffer.from(input).toString('utf8'));
    },
  },
  {
    name: 'graphql',
    seeds: [
      'query Q($a: Int = 1) { viewer { login } alias: repo(name: "x") { id } ...F } fragment F on Query { a }',
      'mutation { createIssue(input: {title: """block"""}) { id } }',
      '{ a } # comment\n query B @d { b }',
    ].map(bytes),
    run: (input) => {
      const read = readGraphql(text(input));
      if (read.ok)
        for (const { fields } of read.operations)
          promise(fields.length > 0, 'an operation asks for something');
      const body = JSON.stringify({ query: text(input), operationName: 'Q' });
      readGraphqlBody(bytes(body));
      readGraphqlBody(input);
    },
  },
  {
    name: 'ws-frames',
    seeds: [
      writeWsFrame(
        { fin: true, opcode: WS_OPCODE.text, payload: Buffer.from('hello') },
        Uint8Array.of(1, 2, 3, 4),
      ),
      Buffer.concat([
        writeWsFrame(
          { fin: false, opcode: WS_OPCODE.binary, payload: Buffer.alloc(200) },
          Uint8Array.of(1, 2, 3, 4),
        ),
        writeWsFrame(
          { fin: true, opcode: WS_OPCODE.ping, payload: Buffer.from('p') },
          Uint8Array.of(0, 0, 0, 0),
        ),
        writeWsFrame(
          { fin: true, opcode: WS_OPCODE.continuation, payload: Buffer.alloc(3) },
          Uint8Array.of(9, 9, 9, 9),
        ),
      ]),
    ],
    run: (input) => {
      for (const masked of [true, false]) {
        const whole = readFrames([input], masked);
        const single = readFrames(
          Array.from(input, (byte) => Uint8Array.of(byte)),
          masked,
        );
        promise(whole === single, 'the pieces that frames come in change nothing');
      }
    },
  },
  {
    name: 'grpc-messages',
    seeds: [Uint8Array.of(0, 0, 0, 0, 2, 1, 2), Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7)],
    run: (input) => {
      const judge = (pieces: readonly Uint8Array[]): string => {
        const messages = new GrpcMessages({ messageBytes: 1_024, compressed: true });
        for (const piece of pieces) {
          const why = messages.update(piece);
          if (why !== undefined) return why;
        }
        return messages.end() ?? 'whole';
      };
      const single = Array.from(input, (byte) => Uint8Array.of(byte));
      promise(judge([input]) === judge(single), 'the pieces that messages come in change nothing');
    },
  },
  {
    name: 'ssh-agent',
    seeds: [
      userAuth('publickey', ''),
      userAuth('publickey-hostbound-v00@openssh.com', 'host'),
      Buffer.concat([sshString('key'), sshString('s'.repeat(32)), sshString('sig'), Uint8Array.of(1)]),
    ],
    run: (input) => {
      const login = readUserAuth(input);
      if (login !== undefined)
        promise(login.key.length + login.sessionId.length <= input.length, 'nothing is read past the end');
      promise(readSessionBind(new SshReader(input)) === undefined, 'nothing random is signed by a host');
      promise(!verifySsh(input, input, input), 'nothing random is a signature');
    },
  },
  {
    name: 'no-proxy',
    seeds: ['.corp.test', '*.corp.test:443', '10.0.0.0/8', '[2001:db8::]/32', '[::1]:80', '*'].map(bytes),
    run: (input) => {
      const entry = parseNoProxyEntry(text(input));
      if (entry === undefined || entry.match.kind !== 'name') return;
      promise(bypassesProxy([entry], entry.match.name, entry.port ?? 443), 'a name covers itself');
      promise(
        !bypassesProxy([entry], `x${entry.match.name}`, entry.port ?? 443),
        'labels are compared whole',
      );
    },
  },
];

interface HeadLike {
  readonly state: 'done' | 'more' | 'bad';
  readonly head?: { readonly headers: readonly string[]; readonly method?: string; readonly target?: string };
  readonly used?: number;
}

function headPromises(input: Uint8Array, read: (part: Buffer) => HeadLike): void {
  const all = Buffer.from(input);
  const whole = read(all);
  if (whole.state !== 'done') return;
  const used = whole.used ?? 0;
  promise(text(all.subarray(0, used)).endsWith('\r\n\r\n'), 'the head ends where it says');
  const { method = '', target = '', headers = [] } = whole.head ?? {};
  promise(!/[\0\r\n]/.test([method, target, ...headers].join('|')), 'no line is hidden in another');
  promise(!/[^\x21-\x7e]/.test(method + target), 'the request line is printable');
  for (let end = 0; end < used; end += Math.max(1, used >> 4))
    promise(read(all.subarray(0, end)).state === 'more', 'the beginning of a head is no head and no fault');
}

function decodeChunked(pieces: readonly Uint8Array[]): string {
  const decoder = new ChunkedDecoder();
  let out = '';
  let used = 0;
  for (const piece of pieces) {
    out += decoder.push(Buffer.from(piece)).toString('hex');
    if (decoder.state === 'bad') return 'bad';
    used += decoder.used;
    if (decoder.state === 'done') break;
  }
  return `${decoder.state} ${used} ${out} ${decoder.trailers.join('|')}`;
}

function readFrames(pieces: readonly Uint8Array[], masked: boolean): string {
  const reader = new WsReader({ masked, ...FRAME });
  const assembler = new WsAssembler();
  const seen: string[] = [];
  for (const piece of pieces) {
    const { frames, problem } = reader.push(piece);
    for (const frame of frames) {
      const message = assembler.add(frame);
      if (message === undefined) continue;
      promise(message.data.length <= FRAME.messageBytes, 'messages are bounded');
      seen.push(`${message.kind} ${message.data.toString('hex')}`);
    }
    if (problem !== undefined) return [...seen, problem.code].join();
  }
  return seen.join();
}

/** What ssh asks its agent to sign at a login. */
function userAuth(method: string, hostKey: string): Buffer {
  const parts = [sshString('s'.repeat(32)), Uint8Array.of(50), sshString('git'), sshString('ssh-connection')];
  const key = [sshString(method), Uint8Array.of(1), sshString('ssh-ed25519'), sshString('k'.repeat(51))];
  return Buffer.concat([...parts, ...key, ...(hostKey === '' ? [] : [sshString(hostKey)])]);
}
