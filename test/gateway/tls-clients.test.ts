import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CertificateAuthority } from '../../src/gateway/tls/contract.ts';
import { certificatesIn } from '../../src/gateway/tls/pem.ts';
import { javaTrustStore, mergedBundle, trustVariables } from '../../src/gateway/tls/trust.ts';
import { allowed, ask, newAuthority, originWorld, readRule, startTerminating } from './tls-kit.ts';
import type { TerminatingServer } from './tls-kit.ts';
import { until } from './kit.ts';

const NAME = 'api.allowed.test';
const SYSTEM = '/etc/ssl/certs/ca-certificates.crt';

let dir: string;
let authority: CertificateAuthority;
let server: TerminatingServer;

beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'gw-tls-'));
  authority = newAuthority();
  write('ca.pem', authority.pem);
  write('bundle.pem', mergedBundle(existsSync(SYSTEM) ? readFileSync(SYSTEM, 'latin1') : '', authority.pem));
  write('other.pem', originWorld().caPem);
  writeFileSync(file('store.jks'), javaTrustStore([readFileSync(file('bundle.pem'), 'latin1')]));
  writeFileSync(file('other.jks'), javaTrustStore([readFileSync(file('other.pem'), 'latin1')]));
  write('hosts', `127.0.0.1 ${NAME}\n`);
  write('Get.java', JAVA);
  write('get.go', GO);
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

beforeEach(async () => {
  server = await startTerminating(authority, allowed(readRule(NAME)));
});

afterEach(() => server.close());

const file = (name: string): string => path.join(dir, name);
const write = (name: string, text: string): void => writeFileSync(file(name), text);

interface Ran {
  readonly code: number;
  readonly out: string;
}

function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const [program = '', ...args] = argv;
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env['PATH'] ?? '', HOME: dir, ...env }, timeout: 50_000 };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
      resolve({ code, out: `${stdout}${stderr}` });
    });
    child.stdin?.end();
  });
}

const CURL = ['curl', '-sS', '--http1.1', '--noproxy', '*'];
const url = (): string => `https://${NAME}:${server.port}/`;
const curl = (...more: string[]): string[] => [
  ...CURL,
  '--resolve',
  `${NAME}:${server.port}:127.0.0.1`,
  ...more,
  url(),
];

const PYTHON = `
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2] if len(sys.argv) > 2 else None)
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as plain:
    with context.wrap_socket(plain, server_hostname='${NAME}') as secure:
        secure.sendall(b'GET / HTTP/1.1\\r\\nHost: ${NAME}\\r\\n\\r\\n')
        print(secure.version(), secure.recv(4096).decode())
`;

const JAVA = `
import java.io.*; import java.net.*; import javax.net.ssl.*;
public class Get {
  public static void main(String[] args) throws Exception {
    HttpsURLConnection c = (HttpsURLConnection) new URL(args[0]).openConnection();
    System.out.println(new String(c.getInputStream().readAllBytes()));
  }
}
`;

const GO = `
package main
import ("fmt"; "io"; "net"; "net/http"; "context"; "os")
func main() {
  t := &http.Transport{DialContext: func(c context.Context, n, a string) (net.Conn, error) { return net.Dial("tcp", "127.0.0.1:" + os.Args[2]) }}
  r, err := (&http.Client{Transport: t}).Get(os.Args[1])
  if err != nil { fmt.Println(err); os.Exit(1) }
  b, _ := io.ReadAll(r.Body)
  fmt.Println(string(b))
}
`;

const has = (program: string): boolean =>
  (process.env['PATH'] ?? '').split(':').some((at) => existsSync(path.join(at, program)));
/** The name says what is missing where a test is skipped. */
const withProgram = (program: string): { readonly title: string; readonly run: typeof test.skip } => ({
  title: has(program) ? '' : ` (skipped: ${program} is not installed)`,
  run: has(program) ? test : test.skip,
});

describe('openssl', () => {
  const { title, run: on } = withProgram('openssl');

  on(`verify -x509_strict accepts leaves of names and addresses${title}`, async () => {
    for (const [host, kind] of [
      [NAME, 'name'],
      ['93.184.216.34', 'ip'],
      ['2606:4700::1111', 'ip'],
    ] as const) {
      server.target = allowed(readRule(host), host, kind);
      const proof = kind === 'name' ? { servername: host } : {};
      const got = await ask({
        port: server.port,
        ca: authority.pem,
        checkServerIdentity: () => undefined,
        ...proof,
      });
      write('leaf.pem', pem(got.certificate?.raw ?? Buffer.alloc(0)));
      const flag = kind === 'name' ? '-verify_hostname' : '-verify_ip';
      const strict = ['-x509_strict', '-purpose', 'sslserver', '-check_ss_sig', flag, host];
      expect(
        await run(['openssl', 'verify', ...strict, '-CAfile', file('ca.pem'), file('leaf.pem')]),
      ).toEqual({
        code: 0,
        out: `${file('leaf.pem')}: OK\n`,
      });
      const wrong = await run([
        'openssl',
        'verify',
        '-x509_strict',
        '-CAfile',
        file('other.pem'),
        file('leaf.pem'),
      ]);
      expect(wrong.code).not.toBe(0);
    }
  });

  on(`the CA is a CA, and its leaves are not${title}`, async () => {
    const text = (await run(['openssl', 'x509', '-in', file('ca.pem'), '-noout', '-text'])).out;
    expect(text).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(text).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
    expect(
      await run(['openssl', 'verify', '-x509_strict', '-CAfile', file('ca.pem'), file('ca.pem')]),
    ).toMatchObject({ code: 0 });
  });
});

function pem(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;
}

describe('clients that trust the sandbox', () => {
  const python = withProgram('python3');
  python.run(`Python with VERIFY_X509_STRICT, by file and by SSL_CERT_FILE${python.title}`, async () => {
    write('get.py', PYTHON);
    const program = ['python3', file('get.py'), String(server.port)];
    expect((await run([...program, file('ca.pem')])).out).toContain(`TLSv1.3 HTTP/1.1 200`);
    const variables = trustVariables(file('bundle.pem'), file('ca.pem'));
    expect((await run(program, variables)).out).toContain(NAME);
  });

  const curls = withProgram('curl');
  curls.run(`curl by the variables${curls.title}`, async () => {
    const got = await run(curl(), trustVariables(file('bundle.pem'), file('ca.pem')));
    expect(got.out).toContain(`${NAME} http/1.1`);
  });

  test('Node by NODE_EXTRA_CA_CERTS', async () => {
    const script = `require('https').get({host:'127.0.0.1',port:${server.port},servername:'${NAME}',headers:{host:'x'}},(r)=>r.pipe(process.stdout))`;
    const got = await run(
      [process.execPath, '-e', script],
      trustVariables(file('bundle.pem'), file('ca.pem')),
    );
    expect(got.out).toContain(NAME);
  });

  const java = withProgram('java');
  java.run(`Java by a trust store${java.title}`, async () => {
    const flags = [
      `-Djdk.net.hosts.file=${file('hosts')}`,
      `-Djavax.net.ssl.trustStore=${file('store.jks')}`,
    ];
    expect((await run(['java', ...flags, file('Get.java'), url()])).out).toContain(NAME);
    const plain = await run(['java', ...flags.slice(0, 1), file('Get.java'), url()]);
    expect(plain.out).toContain('PKIX path building failed');
    await until('both recorded', () => server.results.length === 2);
    expect(server.results[1]).toMatchObject({
      state: 'refused',
      verdict: { reason: expect.stringContaining('certificate_unknown') },
    });
  });

  const keytool = withProgram('keytool');
  keytool.run(`keytool reads the store and its password${keytool.title}`, async () => {
    const list = ['keytool', '-list', '-keystore', file('store.jks'), '-storepass'];
    const count = certificatesIn(readFileSync(file('bundle.pem'), 'latin1')).length;
    const got = await run([...list, 'changeit']);
    expect(got.out).toContain(`contains ${count} entr`);
    expect(got.out).not.toContain('Warning');
    expect((await run([...list, 'changed!'])).code).not.toBe(0);
  });

  const go = withProgram('go');
  go.run(`Go by SSL_CERT_FILE${go.title}`, async () => {
    const build = { GOCACHE: file('gocache'), GOFLAGS: '-mod=mod', GO111MODULE: 'off', CGO_ENABLED: '0' };
    const built = await run(['go', 'build', '-o', file('get'), file('get.go')], build);
    expect(built).toEqual({ code: 0, out: '' });
    const got = await run(
      [file('get'), url(), String(server.port)],
      trustVariables(file('bundle.pem'), file('ca.pem')),
    );
    expect(got.out).toContain(NAME);
    expect((await run([file('get'), url(), String(server.port)])).out).toContain('unknown authority');
    await until('recorded', () => server.results.length === 2);
    expect(server.results[1]).toMatchObject({
      state: 'refused',
      verdict: { reason: expect.stringContaining('bad_certificate') },
    });
  });
});

describe('clients that do not trust the sandbox get nothing', () => {
  const curls = withProgram('curl');
  curls.run(`curl${curls.title}`, async () => {
    expect((await run(curl('--cacert', file('other.pem')))).code).toBe(60);
    await expectRefusal('unknown_ca');
  });

  const python = withProgram('python3');
  python.run(`Python${python.title}`, async () => {
    write('get.py', PYTHON);
    expect((await run(['python3', file('get.py'), String(server.port), file('other.pem')])).out).toContain(
      'CERTIFICATE_VERIFY_FAILED',
    );
    await expectRefusal('unknown_ca');
  });

  const openssl = withProgram('openssl');
  openssl.run(`openssl s_client in TLS 1.2${openssl.title}`, async () => {
    const flags = ['-tls1_2', '-verify_return_error', '-CAfile', file('other.pem'), '-servername', NAME];
    await run(['openssl', 's_client', '-connect', `127.0.0.1:${server.port}`, ...flags]);
    await expectRefusal('unknown_ca');
  });

  async function expectRefusal(alert: string): Promise<void> {
    await until('the refusal', () => server.results.length === 1);
    expect(server.results).toEqual([
      {
        state: 'refused',
        verdict: {
          action: 'deny',
          rule: 'structural.tls',
          reason: expect.stringMatching(
            `does not accept the sandbox's certificate for ${NAME} \\(it answered ${alert}\\): it pins`,
          ),
          remedy: expect.stringContaining(`allow:${NAME}`),
        },
      },
    ]);
    await until('closed', () => server.clients.size === 0);
  }
});
