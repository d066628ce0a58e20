// A registry on the internet that leads a pull to a name of the network inside. Source: CWE-918; containerd and buildkit advisories.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { AttackBox } from '../support/attack.ts';
import { GLOVEBOX } from '../support/box.ts';
import { imageOf } from '../support/registry.ts';

/** Two machines: one with the registry at a public address and a service at a private one, and ours, which reaches both. */
const NETWORK = `
unshare --net sleep 60 & server=$!
trap 'kill $server $web' EXIT
until [ "$(readlink /proc/$server/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set lo up
ip link add ours type veth peer name theirs netns $server
ip addr add 203.0.112.1/24 dev ours
ip link set ours up
nsenter --net=/proc/$server/ns/net sh -c 'ip link set lo up; ip addr add 203.0.112.7/24 dev theirs; ip addr add 10.9.9.9/32 dev theirs; ip link set theirs up'
ip route add 10.9.9.9/32 dev ours
mount --bind "$BASE/hosts" /etc/hosts
nsenter --net=/proc/$server/ns/net "$NODE" "$BASE/server.mjs" & web=$!
until [ -e "$BASE/ready" ]; do :; done
"$NODE" "$GLOVEBOX" image pull --insecure registry.test/app --name "$1"
`;

/** Serves files of a table by path; redirects where the table says so; keeps what it was asked. */
const SERVER = `
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
const [base, to] = [import.meta.dirname, readFileSync(import.meta.dirname + '/to', 'utf8')];
const table = JSON.parse(readFileSync(base + '/table.json', 'utf8'));
createServer((request, response) => {
  appendFileSync(base + '/seen', request.headers.host + request.url + '\\n');
  const digest = /\\/v2\\/app\\/blobs\\/(.*)/.exec(request.url)?.[1];
  if (digest !== undefined) return response.writeHead(307, { location: 'http://' + to + '/cdn/' + digest }).end();
  const body = table[request.url];
  response.writeHead(body === undefined ? 404 : 200).end(Buffer.from(body ?? '', 'base64'));
}).listen(80, () => writeFileSync(base + '/ready', ''));
`;

const words = ['--user', '--map-root-user', '--net', '--mount'];
const cannot = spawnSync('unshare', [...words, 'sh', '-c', 'ip link set lo up'], { encoding: 'utf8' });
const why = cannot.status === 0 ? '' : ' (skipped: no network namespaces here)';

/** A pull from registry.test, which redirects blobs to `to`. */
function pull(box: AttackBox, to: string): { readonly stderr: string; readonly seen: string } {
  const image = imageOf({ layers: [[{ name: 'x' }]] });
  const table: Record<string, string> = { '/v2/': '', '/v2/app/manifests/latest': '' };
  table['/v2/app/manifests/latest'] = image.manifest.bytes.toString('base64');
  for (const { digest, bytes } of [image.config, ...image.layers])
    table[`/cdn/${digest}`] = bytes.toString('base64');
  const hosts = '203.0.112.7 registry.test cdn.test\n10.9.9.9 inside.test\n127.0.0.1 localhost self.test\n';
  const files = { hosts, to, 'table.json': JSON.stringify(table), 'server.mjs': SERVER, seen: '' };
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(box.base, name), text);
  const done = spawnSync('unshare', [...words, 'bash', '-c', NETWORK, 'pull', 'app'], {
    env: { ...box.env(), BASE: box.base, NODE: process.execPath, GLOVEBOX },
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { stderr: done.stderr, seen: readFileSync(path.join(box.base, 'seen'), 'utf8') };
}

describe.skipIf(cannot.status !== 0)(`a redirect${why}`, () => {
  it.each([
    ['inside.test', 'which is a private network (RFC 1918), 10.9.9.9'],
    ['10.9.9.9', 'which is a private network'],
    ['self.test', 'which is loopback'],
  ])('to %s is not followed', (to, reason) => {
    using box = new AttackBox('process');
    const { stderr, seen } = pull(box, to);
    expect(stderr).toContain(`registry.test leads to ${to}`);
    expect(stderr).toContain(reason);
    expect(seen).toContain('registry.test/v2/app/blobs/');
    expect(seen).not.toContain(`${to}/`);
    expect(box.records().at(-1)).toMatchObject({
      kind: 'image.refused',
      data: { action: 'pull', code: 'E_IMAGE_REGISTRY', what: `registry.test leads to ${to}` },
    });
  });

  it('to another name of the internet is followed', () => {
    using box = new AttackBox('process');
    const { seen } = pull(box, 'cdn.test');
    expect(seen).toContain('cdn.test/cdn/');
    expect(box.records().at(-1)).toMatchObject({
      kind: 'image.changed',
      data: { action: 'pull', name: 'app' },
    });
  });
});
