import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/index.ts';
import { PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { expectRecord, inside, inspected, Outside, recorded, WAYS } from '../support/inspection.ts';

const HOST = 'rpc.example.test';
const RULE = {
  id: 'rpc',
  host: HOST,
  requests: [
    { rpc: 'pkg.Svc/Get' },
    { rpc: 'pkg.Svc/Watch' },
    { rpc: 'pkg.Svc/Collect' },
    { rpc: 'pkg.Svc/Chat' },
  ],
};

const noGrpc = spawnSync(PYTHON, ['-c', 'import grpc']).status !== 0;

/** Bytes in, bytes out: no generated code is needed. */
const SERVER = `
import grpc, sys
from concurrent import futures
key, cert = (open(name, 'rb').read() for name in sys.argv[1:3])
def get(request, context):
    context.set_trailing_metadata((('x-trailer', 'kept'),))
    if request == b'fail': context.abort(grpc.StatusCode.NOT_FOUND, 'no such thing')
    return b'got ' + request
def watch(request, context):
    for i in range(int(request)): yield b'%d' % i
def collect(requests, context): return b','.join(requests)
def chat(requests, context):
    for request in requests: yield b're ' + request
kinds = {'Get': grpc.unary_unary_rpc_method_handler(get), 'Drop': grpc.unary_unary_rpc_method_handler(get),
  'Watch': grpc.unary_stream_rpc_method_handler(watch), 'Collect': grpc.stream_unary_rpc_method_handler(collect),
  'Chat': grpc.stream_stream_rpc_method_handler(chat)}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('pkg.Svc', kinds),))
port = server.add_secure_port('127.0.0.1:0', grpc.ssl_server_credentials(((key, cert),)))
server.start(); print(port, flush=True); sys.stdin.read(); server.stop(0)
`;

const CLIENT = `
import grpc, json, queue
with grpc.secure_channel('${HOST}:443', grpc.ssl_channel_credentials()) as channel:
    get = channel.unary_unary('/pkg.Svc/Get')
    response, call = get.with_call(b'one', timeout=20, metadata=(('x-mine', 'yes'),))
    out = {'get': response.decode(), 'trailer': dict(call.trailing_metadata()).get('x-trailer')}
    out['watch'] = [item.decode() for item in channel.unary_stream('/pkg.Svc/Watch')(b'5', timeout=20)]
    out['collect'] = channel.stream_unary('/pkg.Svc/Collect')(iter([b'a', b'b', b'c']), timeout=20).decode()
    # Each answer is waited for before the next question is asked: nothing may be held on the way.
    asked = queue.Queue()
    answers = channel.stream_stream('/pkg.Svc/Chat')(iter(asked.get, None), timeout=20)
    out['chat'] = []
    for word in (b'x', b'y', b'z'):
        asked.put(word); out['chat'].append(next(answers).decode())
    asked.put(None); out['end'] = list(answers)
    out['big'] = len(get(b'z' * 3000000, timeout=20))
    def failure(method, data):
        try: channel.unary_unary(method)(data, timeout=20)
        except grpc.RpcError as error: return [error.code().name, error.details()]
    out['failed'] = failure('/pkg.Svc/Get', b'fail')
    out['refused'] = failure('/pkg.Svc/Drop', b'x')
    out['after'] = get(b'again', timeout=20).decode()
print(json.dumps(out))
`;

describe.skipIf(noGrpc)(`gRPC of Python${noGrpc ? ' (skipped: python3-grpcio not installed)' : ''}`, () => {
  let outside: Outside;
  let server: ChildProcess;
  let box: TestBox;
  let sandbox: Sandbox;

  beforeAll(async () => {
    outside = new Outside([HOST]);
    const files = ['leaf.key', 'leaf.pem'].map((name) => path.join(outside.dir, name));
    server = spawn(PYTHON, ['-c', SERVER, ...files], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = (await once(server.stdout ?? server, 'data')) as [Buffer];
    box = new TestBox();
    sandbox = await inspected(box, { rules: [RULE], sites: { [HOST]: Number(line.toString()) }, outside });
  });

  afterAll(async () => {
    await sandbox?.kill();
    server?.stdin?.end();
    if (server?.exitCode === null) await once(server, 'exit');
    box?.[Symbol.dispose]();
    outside?.[Symbol.dispose]();
  });

  it.each(WAYS)('calls of every kind pass, another method is refused with the reason, $way', async (way) => {
    const got = await inside(sandbox, way.wrap([PYTHON, '-c', CLIENT]));
    expect(got.exitCode, got.stderr).toBe(0);
    const out: unknown = JSON.parse(got.stdout);
    expect(out).toEqual({
      get: 'got one',
      trailer: 'kept',
      watch: ['0', '1', '2', '3', '4'],
      collect: 'a,b,c',
      chat: ['re x', 're y', 're z'],
      end: [],
      big: 3_000_004,
      failed: ['NOT_FOUND', 'no such thing'],
      refused: ['PERMISSION_DENIED', expect.stringContaining('glovebox: ')],
      after: 'got again',
    });
    const common = { entry: way.entry, host: HOST, http: '2', method: 'POST' };
    for (const name of ['Get', 'Watch', 'Collect', 'Chat'])
      await expectRecord(box, 'network.request', {
        ...common,
        action: 'allow',
        rule: 'rpc',
        path: `/pkg.Svc/${name}`,
      });
    await expectRecord(box, 'network.request', { ...common, action: 'deny', path: '/pkg.Svc/Drop' });
    const drops = recorded(box, 'network.request').filter((data) => data['path'] === '/pkg.Svc/Drop');
    expect(drops.every((data) => data['action'] === 'deny')).toBe(true);
  });
});
