import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { needsProgram } from '../support/attack.ts';
import { TestBox, type BoxResult } from '../support/box.ts';
import { blobOf, DOCKER, hostArchitecture, imageOf, LOGIN, OCI, TestRegistry } from '../support/registry.ts';

const HELLO = imageOf({
  layers: [
    [
      { name: 'usr/share/hello', content: 'old' },
      { name: 'gone', content: 'x' },
      { name: 'bin', flag: '2', link: 'usr/bin' },
    ],
    [{ name: 'usr/share/hello', content: 'hello' }, { name: '.wh.gone' }],
  ],
  config: { Env: ['GREETING=hello', 'PATH=/usr/share'], WorkingDir: '/usr/share', User: 'app' },
});

interface Listed {
  readonly images: readonly {
    readonly name: string;
    readonly root: string;
    readonly source: string;
    readonly config: object;
  }[];
}

async function images(box: TestBox): Promise<Listed['images']> {
  const result = await box.cli(['image', 'list', '--json']);
  return (JSON.parse(result.stdout) as Listed).images;
}

const storeDir = (box: TestBox): string => path.join(box.home, '.cache/glovebox/images');

/** What a failed pull may not leave. */
function leftovers(box: TestBox): readonly string[] {
  return ['blobs', 'rootfs', 'refs', 'leases', 'tmp', 'locks'].flatMap((part) =>
    readdirSync(path.join(storeDir(box), part)).map((name) => `${part}/${name}`),
  );
}

/** The refusal, its record, and nothing in the store but blobs that were whole. */
function expectRefused(box: TestBox, result: BoxResult, code: string): void {
  expect(result.stderr).toContain(`[${code}]`);
  expect(result.code).toBe(125);
  expect(leftovers(box).filter((name) => !name.startsWith('blobs/'))).toEqual([]);
  expect(box.records().at(-1)).toMatchObject({ kind: 'image.refused', data: { action: 'pull', code } });
}

describe('image pull', () => {
  it.each([
    ['OCI', OCI],
    ['docker', DOCKER],
  ])('fetches, unpacks and names an image of %s media types, once', async (_, types) => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    const image = imageOf({
      layers: [[{ name: 'usr/a', content: 'a' }], [{ name: 'usr/b', content: 'b' }]],
      types,
    });
    registry.add('team/app', 'v1', image);
    const ref = `${registry.host}/team/app:v1`;
    expect(await box.cli(['image', 'pull', ref])).toMatchObject({ code: 0 });
    const [found] = await images(box);
    expect(found).toMatchObject({ name: ref, source: `${ref}@${image.manifest.digest}` });
    expect(readFileSync(path.join(found?.root ?? '', 'usr/b'), 'utf8')).toBe('b');
    expect(registry.fetched).toHaveLength(3);
    expect(await box.cli(['image', 'pull', ref])).toMatchObject({ code: 0 });
    expect(registry.fetched).toHaveLength(3);
    expect(box.records().at(-1)).toMatchObject({
      kind: 'image.changed',
      data: { action: 'pull', name: ref },
    });
  });

  it('applies whiteouts and keeps what the image says about itself', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    registry.add('hello', 'latest', HELLO);
    expect(await box.cli(['image', 'pull', `${registry.host}/hello`, '--name', 'hello'])).toMatchObject({
      code: 0,
    });
    const [found] = await images(box);
    expect(found).toMatchObject({
      name: 'hello',
      config: { env: ['GREETING=hello', 'PATH=/usr/share'], workingDir: '/usr/share', user: 'app' },
    });
    expect(existsSync(path.join(found?.root ?? '', 'gone'))).toBe(false);
    expect(readFileSync(path.join(found?.root ?? '', 'usr/share/hello'), 'utf8')).toBe('hello');
  });

  it.each([OCI.index, DOCKER.index])('chooses by platform from %s, and by digest', async (mediaType) => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    const other = imageOf({ layers: [[{ name: 'other' }]], architecture: 'riscv64' });
    const digest = registry.addIndex(
      'multi',
      'latest',
      { riscv64: other, [hostArchitecture]: HELLO },
      mediaType,
    );
    expect(
      await box.cli(['image', 'pull', `${registry.host}/multi@${digest}`, '--name', 'mine']),
    ).toMatchObject({ code: 0 });
    expect(
      await box.cli([
        'image',
        'pull',
        `${registry.host}/multi`,
        '--name',
        'theirs',
        '--platform',
        'linux/riscv64',
      ]),
    ).toMatchObject({ code: 0 });
    const [mine, theirs] = await images(box);
    expect(existsSync(path.join(mine?.root ?? '', 'usr/share/hello'))).toBe(true);
    expect(existsSync(path.join(theirs?.root ?? '', 'other'))).toBe(true);
    const missing = await box.cli([
      'image',
      'pull',
      `${registry.host}/multi`,
      '--platform',
      'linux/s390x',
      '--name',
      'x',
    ]);
    expect(missing.stderr).toMatch(
      /multi:?\S* is for linux\/riscv64, linux\/\w+, not for linux\/s390x[\s\S]*\[E_IMAGE_PLATFORM\]/,
    );
  });

  it('refuses the one image of another platform before it fetches a layer; asked for by name it is kept, and said', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    const other = imageOf({ layers: [[{ name: 'usr/other' }]], architecture: 'riscv64' });
    registry.add('other', 'latest', other);
    const refused = await box.cli(['image', 'pull', `${registry.host}/other`, '--name', 'other']);
    expectRefused(box, refused, 'E_IMAGE_PLATFORM');
    expect(refused.stderr).toContain(`the image is for linux/riscv64, not for linux/${hostArchitecture}`);
    expect(refused.stderr).toContain('--platform linux/riscv64');
    expect(registry.fetched).toEqual([other.config.digest]);
    const forced = [
      'image',
      'pull',
      `${registry.host}/other`,
      '--name',
      'other',
      '--platform',
      'linux/riscv64',
    ];
    expect(await box.cli(forced)).toMatchObject({ code: 0 });
    expect(await images(box)).toMatchObject([{ platform: { os: 'linux', architecture: 'riscv64' } }]);
    const run = await box.run(['true'], { flags: ['--image', 'other', '--verbose'] });
    expect(run.stderr).toContain('image other is for linux/riscv64');
  });

  it('does not believe an index that calls a foreign image ours', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    const other = imageOf({
      layers: [[{ name: 'usr/other' }]],
      alterConfig: (config) => (config['os'] = 'windows'),
    });
    registry.addIndex('liar', 'latest', { [hostArchitecture]: other });
    const refused = await box.cli(['image', 'pull', `${registry.host}/liar`, '--name', 'x']);
    expectRefused(box, refused, 'E_IMAGE_PLATFORM');
    expect(refused.stderr).toContain(`windows/${hostArchitecture}, not for linux/${hostArchitecture}`);
  });

  it('gets a token where the registry wants one, for this repository alone', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start({ auth: 'bearer', anonymous: true });
    registry.add('team/app', 'latest', HELLO);
    expect(await box.cli(['image', 'pull', `${registry.host}/team/app`])).toMatchObject({ code: 0 });
    const asked = registry.seen.find(({ url }) => url.startsWith('/token'));
    expect(asked?.url).toContain('scope=repository%3Ateam%2Fapp%3Apull');
    expect(asked?.authorization).toBeUndefined();
  });

  it.each(['basic', 'bearer'] as const)(
    'uses the login of config.json only when asked (%s)',
    async (auth) => {
      using box = new TestBox();
      await using registry = await TestRegistry.start({ auth });
      registry.add('app', 'latest', HELLO);
      mkdirSync(path.join(box.home, '.docker'));
      const login = Buffer.from(LOGIN).toString('base64');
      writeFileSync(
        path.join(box.home, '.docker/config.json'),
        JSON.stringify({ auths: { [registry.host]: { auth: login } } }),
      );
      expectRefused(box, await box.cli(['image', 'pull', `${registry.host}/app`]), 'E_IMAGE_UNAUTHORIZED');
      expect(registry.seen.filter(({ authorization }) => authorization?.includes(login))).toEqual([]);
      expect(await box.cli(['image', 'pull', '--auth', `${registry.host}/app`])).toMatchObject({ code: 0 });
    },
  );

  it('two processes pull the same image at once, and both have it', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    registry.add('app', 'latest', HELLO);
    const pulls = ['a', 'b', 'c'].map((name) =>
      box.cli(['image', 'pull', `${registry.host}/app`, '--name', name]),
    );
    expect((await Promise.all(pulls)).map(({ code, stderr }) => [code, code === 0 ? '' : stderr])).toEqual([
      [0, ''],
      [0, ''],
      [0, ''],
    ]);
    expect(registry.fetched).toHaveLength(3);
    expect(new Set((await images(box)).map(({ root }) => root)).size).toBe(1);
  });

  it('says what is wrong: no such image, no registry, a bad name', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    expectRefused(box, await box.cli(['image', 'pull', `${registry.host}/nothing`]), 'E_IMAGE_NOT_FOUND');
    expectRefused(box, await box.cli(['image', 'pull', '127.0.0.1:1/x']), 'E_IMAGE_REGISTRY');
    const bad = await box.cli(['image', 'pull', 'Team/App']);
    expect(bad.stderr).toContain('Did you mean team/app?');
    expect(bad.code).toBe(125);
  });
});

describe('a pull that lies', () => {
  it('other bytes than announced, more, or fewer', async () => {
    for (const tamper of [
      (_: string, bytes: Buffer) => Buffer.from(bytes.map((byte, i) => (i === 20 ? byte ^ 1 : byte))),
      (_: string, bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1000)]),
      (_: string, bytes: Buffer) => bytes.subarray(0, -1),
    ]) {
      using box = new TestBox();
      await using registry = await TestRegistry.start({ tamper });
      registry.add('app', 'latest', HELLO);
      expectRefused(box, await box.cli(['image', 'pull', `${registry.host}/app`]), 'E_IMAGE_DIGEST');
      expect(leftovers(box)).toEqual([]);
    }
  });

  it('a connection that breaks', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start({ cutAfter: 300 });
    const big = imageOf({ layers: [[{ name: 'x', content: randomBytes(5000) }]] });
    registry.add('app', 'latest', big);
    expectRefused(box, await box.cli(['image', 'pull', `${registry.host}/app`]), 'E_IMAGE_REGISTRY');
  });

  it('a layer that unpacks to something else than the configuration says', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    const wrong = [blobOf('something else').digest];
    registry.add(
      'app',
      'latest',
      imageOf({
        layers: [[{ name: 'x' }]],
        alterConfig: (config) => (config['rootfs'] = { type: 'layers', diff_ids: wrong }),
      }),
    );
    expectRefused(box, await box.cli(['image', 'pull', `${registry.host}/app`]), 'E_IMAGE_DIGEST');
  });

  it.each<[string, (manifest: Record<string, unknown>) => void]>([
    ['an index and a manifest at once', (manifest) => (manifest['manifests'] = [])],
    ['no layers', (manifest) => delete manifest['layers']],
    [
      'a layer to be fetched elsewhere',
      (manifest) =>
        (manifest['layers'] = [
          {
            mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
            digest: blobOf('x').digest,
            size: 1,
            urls: ['http://192.0.2.1/'],
          },
        ]),
    ],
    [
      'a digest that is a path',
      (manifest) =>
        (manifest['config'] = { mediaType: OCI.config, digest: 'sha256:../../../../etc/passwd', size: 1 }),
    ],
    ['an old version', (manifest) => (manifest['schemaVersion'] = 1)],
    ['fewer layers than the configuration', (manifest) => (manifest['layers'] = [])],
  ])('%s', async (_, alterManifest) => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    registry.add('app', 'latest', imageOf({ layers: [[{ name: 'x' }]], alterManifest }));
    expectRefused(box, await box.cli(['image', 'pull', `${registry.host}/app`]), 'E_IMAGE_INVALID');
  });

  it('another manifest than the digest asked for', async () => {
    using box = new TestBox();
    await using registry = await TestRegistry.start();
    const asked = blobOf('asked').digest;
    registry.add('app', 'latest', HELLO);
    registry.put('app', [asked], HELLO.manifest.bytes, HELLO.mediaType);
    expectRefused(box, await box.cli(['image', 'pull', `${registry.host}/app@${asked}`]), 'E_IMAGE_DIGEST');
  });
});

const noOpenssl = needsProgram('openssl');

describe.skipIf(noOpenssl !== undefined)(
  `TLS${noOpenssl === undefined ? '' : ` (skipped: ${noOpenssl})`}`,
  () => {
    it('is used where the registry has it, and a certificate that nobody vouches for is refused', async () => {
      using box = new TestBox();
      const { key, cert, file } = certificate(box.base);
      await using registry = await TestRegistry.start({ tls: { key, cert } });
      registry.add('hello', 'latest', HELLO);
      expectRefused(box, await box.cli(['image', 'pull', `${registry.host}/hello`]), 'E_IMAGE_REGISTRY');
      expectRefused(
        box,
        await box.cli(['image', 'pull', '--insecure', `${registry.host}/hello`]),
        'E_IMAGE_REGISTRY',
      );
      expect(registry.seen).toEqual([]);
      const trusted = await box.cli(['image', 'pull', `${registry.host}/hello`], {
        env: { NODE_EXTRA_CA_CERTS: file },
      });
      expect(trusted).toMatchObject({ code: 0 });
    });

    it('goes through the proxy of the environment, which alone resolves the name', async () => {
      using box = new TestBox();
      const { key, cert, file } = certificate(box.base);
      await using registry = await TestRegistry.start({ tls: { key, cert } });
      await using proxy = await ConnectProxy.start(registry.port);
      registry.add('hello', 'latest', HELLO);
      const pull = (more: Readonly<Record<string, string>>): Promise<BoxResult> =>
        box.cli(['image', 'pull', 'registry.test/hello', '--name', 'hello'], {
          env: { NODE_EXTRA_CA_CERTS: file, HTTPS_PROXY: `http://u:p@${proxy.host}`, ...more },
        });
      proxy.status = 403;
      const refused = await pull({});
      expectRefused(box, refused, 'E_IMAGE_REGISTRY');
      expect(refused.stderr).toContain(`the proxy ${proxy.host} does not lead to registry.test`);
      expect(refused.stderr).not.toContain('u:p');
      proxy.status = 200;
      proxy.seen.length = 0;
      expectRefused(box, await pull({ NO_PROXY: 'registry.test' }), 'E_IMAGE_REGISTRY');
      expect(proxy.seen).toEqual([]);
      expect(await pull({})).toMatchObject({ code: 0 });
      const login = `Basic ${Buffer.from('u:p').toString('base64')}`;
      expect(new Set(proxy.seen)).toEqual(new Set([`registry.test:443 ${login}`]));
      expect(registry.seen.map(({ host }) => host)).toContain('registry.test');
    });

    it('behind a proxy, no redirect leads to an address inside', async () => {
      using box = new TestBox();
      const { key, cert, file } = certificate(box.base);
      await using registry = await TestRegistry.start({
        tls: { key, cert },
        redirect: (digest) => `https://10.9.9.9/${digest}`,
      });
      await using proxy = await ConnectProxy.start(registry.port);
      registry.add('hello', 'latest', HELLO);
      const result = await box.cli(['image', 'pull', 'registry.test/hello'], {
        env: { NODE_EXTRA_CA_CERTS: file, HTTPS_PROXY: `http://${proxy.host}` },
      });
      expectRefused(box, result, 'E_IMAGE_REGISTRY');
      expect(result.stderr).toContain('registry.test leads to 10.9.9.9');
      expect(proxy.seen.filter((line) => !line.startsWith('registry.test:443 '))).toEqual([]);
    });
  },
);

/** A proxy that leads every CONNECT to one port of this machine. */
class ConnectProxy implements AsyncDisposable {
  /** Authority and Proxy-Authorization of each request. */
  readonly seen: string[] = [];
  status = 200;
  readonly #server = createServer();
  readonly #open = new Set<Duplex>();

  static async start(port: number): Promise<ConnectProxy> {
    const proxy = new ConnectProxy();
    proxy.#server.on('connect', (request, client) => {
      proxy.seen.push(`${request.url} ${request.headers['proxy-authorization']}`);
      if (proxy.status !== 200) return void client.end(`HTTP/1.1 ${proxy.status} No\r\n\r\n`);
      const upstream = connect(port, '127.0.0.1', () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n');
        client.pipe(upstream).pipe(client);
      });
      for (const socket of [client, upstream]) {
        proxy.#open.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => [client, upstream].forEach((one) => one.destroy()));
      }
    });
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A certificate of its own authority for 127.0.0.1 and registry.test. */
function certificate(dir: string): { readonly key: Buffer; readonly cert: Buffer; readonly file: string } {
  const [key, cert] = [path.join(dir, 'key.pem'), path.join(dir, 'cert.pem')];
  const words = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=registry',
    '-addext',
    'subjectAltName=IP:127.0.0.1,DNS:registry.test',
    '-keyout',
    key,
    '-out',
    cert,
  ];
  execFileSync('openssl', words, { stdio: 'ignore' });
  return { key: readFileSync(key), cert: readFileSync(cert), file: cert };
}
