// An origin shows a certificate of the sandbox's CA, of another CA, of another name, of nobody. Source: Sealroom; EGRESS T31.
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:tls';
import path from 'node:path';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'vitest';
import { expectDenied, forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox, LLM } from '../support/egress-box.ts';

forEachTier(
  'the gateway believes no origin that the host would not, and sends it no secret',
  async (tier) => {
    await using box = new EgressBox(tier, { network: { trust: [] } });
    const result = await box.probe(`
ask('untrusted', body='{}')
ask('again', 'GET', '/v1/models')
context = ssl.create_default_context(cafile='/.glovebox/ca.pem')
with secure(context=context) as link: report('issuer', dict(part[0] for part in link.getpeercert()['issuer'])['commonName'])
control()
`);
    const seen = outcomes(result);
    for (const name of ['untrusted', 'again', 'control'])
      expect([name, seen[name]]).toEqual([
        name,
        expect.stringMatching(/^50[02]|^403 structural.tls-upstream|^502/),
      ]);
    expect(seen['issuer']).toMatch(/glovebox/i);
    expect(box.received).toBe('');
    expect(box.dialled.length).toBeGreaterThan(0);
    expectDenied(box, { host: LLM, rule: 'structural.tls-upstream' });
  },
);

forEachTier('a certificate made inside with the CA file of the sandbox is worth nothing', async (tier) => {
  await using box = new EgressBox(tier);
  // Made inside: the CA's certificate is there, its key is not, so a key of one's own has to do.
  const made = await box.probe(`
import subprocess
run = lambda *words: subprocess.run(['openssl', *words], capture_output=True, text=True, timeout=20).returncode
new = ('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-subj', '/CN=api.llm.test', '-addext', 'subjectAltName=DNS:api.llm.test')
report('self', run(*new, '-keyout', 'own.key', '-out', 'own.pem'))
report('ca', run(*new, '-keyout', 'x.key', '-out', 'x.pem', '-CA', '/.glovebox/ca.pem', '-CAkey', 'own.key'))
control()
`);
  box.expectOnlyControl(made);
  expect(outcomes(made)['self']).toBe('0');
  expect(outcomes(made)['ca']).not.toBe('0');
  await using fake = await FakeOrigin.start(box.workspace);
  const result = await box.probe(`ask('fake', body='{}')`, {
    transport: { resolver: { resolve: async () => ['93.184.216.34'] }, dialler: { dial: () => fake.dial() } },
  });
  expect(outcomes(result)['fake']).toMatch(/^502 structural\.tls-upstream/);
  expect(fake.received).toBe('');
});

/** An origin whose certificate was made inside. */
class FakeOrigin implements AsyncDisposable {
  received = '';
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on('secureConnection', (socket) =>
      socket.on('data', (chunk: Buffer) => (this.received += chunk.toString())),
    );
    server.on('tlsClientError', () => undefined);
  }

  static async start(dir: string): Promise<FakeOrigin> {
    const file = (name: string): string => readFileSync(path.join(dir, name), 'utf8');
    const server = createServer({ key: file('own.key'), cert: file('own.pem') });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new FakeOrigin(server);
  }

  async dial(): Promise<Socket> {
    const address = this.#server.address();
    const socket = connect({
      host: '127.0.0.1',
      port: typeof address === 'object' ? (address?.port ?? 0) : 0,
      allowHalfOpen: true,
    });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    await Promise.resolve();
  }
}
