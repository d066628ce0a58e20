// Reaches another sandbox of the same user. Source: OpenSandbox PR #423 (cross-tenant proxy); shared bridges of container setups.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier(
  'two sandboxes cannot reach each other by network, abstract socket, shared memory or /tmp',
  async (tier) => {
    using box = new AttackBox(tier);
    const first = box.startPython(`
server = socket.create_server(('0.0.0.0', 8123))
local = socket.socket(socket.AF_UNIX); local.bind('\\0gbx-neighbour'); local.listen()
write_file('/tmp/gbx-neighbour'); write_file('/dev/shm/gbx-neighbour'); write_file(os.path.expanduser('~/gbx-neighbour'))
print('ready', flush=True)
sys.stdin.readline()
`);
    await first.said('ready');
    const second = await box.python(`
attempt('tcp', lambda: socket.create_connection(('127.0.0.1', 8123), 2).close())
attempt('any', lambda: socket.create_connection(('10.0.0.1', 8123), 2).close())
def abstract():
    with socket.socket(socket.AF_UNIX) as link: link.connect('\\0gbx-neighbour')
attempt('abstract', abstract)
for path in ('/tmp', '/dev/shm', os.path.expanduser('~')): attempt(path.rsplit('/', 1)[1], lambda: read_file(path + '/gbx-neighbour'))
report('processes', len([name for name in os.listdir('/proc') if name.isdigit()]) < 6)
`);
    first.tell('go');
    await first.finish();
    expectRefused(second, ['tcp', 'any', 'abstract'], ['ECONNREFUSED', 'ENETUNREACH']);
    expectRefused(second, ['tmp', 'shm', 'home'], ['ENOENT']);
    expectRefused(second, ['processes'], ['True']);
    expectRecorded(box);
  },
);
