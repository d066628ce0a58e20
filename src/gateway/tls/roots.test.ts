import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAuthority } from './authority.ts';
import { certificatesIn } from './pem.ts';
import { createRootStore } from './roots.ts';

const [a, b, c] = ['a', 'b', 'c'].map((sandbox) => createAuthority({ sandbox }).pem) as [
  string,
  string,
  string,
];
let dir: string;
const at = (name: string): string => path.join(dir, name);

beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'gw-roots-'));
  for (const [name, text] of Object.entries({
    a,
    b,
    c,
    empty: '',
    broken: a.replace(/\n[A-Za-z0-9+/]{40}/, '\nAAAA'),
  }))
    writeFileSync(at(`${name}.pem`), text);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const store = (env: Record<string, string> = {}): ReturnType<typeof createRootStore> =>
  createRootStore({ env, bundles: [at('missing.pem'), at('empty.pem'), at('a.pem')] });

describe('roots', () => {
  test('the first bundle that has certificates', async () => {
    expect(certificatesIn(await store().hostBundle())).toEqual(certificatesIn(a));
  });

  test('SSL_CERT_FILE instead of it, NODE_EXTRA_CA_CERTS beside it', async () => {
    const env = { SSL_CERT_FILE: at('b.pem'), NODE_EXTRA_CA_CERTS: at('c.pem') };
    expect(certificatesIn(await store(env).hostBundle())).toEqual(certificatesIn(b + c));
    expect(certificatesIn(await store({ SSL_CERT_FILE: '' }).hostBundle())).toEqual(certificatesIn(a));
  });

  test.each(['missing.pem', 'empty.pem'])('a bundle named on purpose is not replaced: %s', async (name) => {
    await expect(store({ SSL_CERT_FILE: at(name) }).hostBundle()).rejects.toThrow('SSL_CERT_FILE');
    await expect(store({ NODE_EXTRA_CA_CERTS: at(name) }).contextFor([])).rejects.toThrow(
      'NODE_EXTRA_CA_CERTS',
    );
  });

  test.each(['missing.pem', 'empty.pem', 'broken.pem'])(
    'a file of the policy must hold certificates: %s',
    async (name) => {
      await expect(store().contextFor([at(name)])).rejects.toThrow(`network.trust names ${at(name)}`);
    },
  );

  test('without a bundle Node has its own', async () => {
    const bare = createRootStore({ env: {}, bundles: [] });
    expect(certificatesIn(await bare.hostBundle()).length).toBeGreaterThan(100);
  });

  test('equal roots share one context, the excluded certificate counts as absent', async () => {
    const roots = store();
    const context = await roots.contextFor([]);
    expect(await roots.contextFor([])).toBe(context);
    expect(await roots.contextFor([at('b.pem')])).not.toBe(context);
    expect(await roots.contextFor([at('b.pem')], b)).toBe(context);
  });
});
