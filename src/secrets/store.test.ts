import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keyKindOf, unsealStore } from './store-file.ts';
import { openStore } from './store.ts';

describe('the secret store', () => {
  let dir: string;
  const context = (env: Record<string, string> = {}): Parameters<typeof openStore>[0] => ({
    env,
    configDir: path.join(dir, 'config'),
    stateDir: path.join(dir, 'state'),
  });
  const file = (): string => path.join(dir, 'config/secrets.store');

  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'gbx-store-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it('keeps, lists, replaces and removes with a key of its own', async () => {
    const store = openStore(context());
    expect(await store.list()).toEqual([]);
    await store.set('one', Buffer.from('first-secret'));
    await store.set('two', Buffer.from('second-secret'));
    await store.set('one', Buffer.from('third-secret'));
    expect((await store.list()).map(({ name }) => name)).toEqual(['one', 'two']);
    expect((await store.get('one'))?.toString()).toBe('third-secret');
    expect(await store.remove('one')).toBe(true);
    expect(await store.remove('one')).toBe(false);
    expect(await store.get('one')).toBeUndefined();
    for (const name of ['config/secrets.store', 'state/secrets.key'])
      expect(statSync(path.join(dir, name)).mode & 0o777).toBe(0o600);
    expect(readFileSync(file()).includes('second-secret')).toBe(false);
    expect(readdirSync(path.join(dir, 'config'))).toEqual(['secrets.store']);
  });

  it('takes the passphrase where there is one, and says which key is missing', async () => {
    const env = { GLOVEBOX_STORE_PASSPHRASE: 'correct horse' };
    await openStore(context(env)).set('one', Buffer.from('first-secret'));
    expect((await openStore(context(env)).get('one'))?.toString()).toBe('first-secret');
    await expect(openStore(context()).list()).rejects.toThrow('was made with a passphrase');
    await expect(openStore(context({ GLOVEBOX_STORE_PASSPHRASE: 'wrong' })).list()).rejects.toThrow(
      'passphrase is wrong',
    );
  });

  it('refuses names and values that cannot be used, and says nothing of the value', async () => {
    const store = openStore(context());
    await expect(store.set('../x', Buffer.from('long-enough'))).rejects.toMatchObject({
      code: 'E_CREDENTIAL_INVALID',
    });
    const error: unknown = await store.set('one', Buffer.from('two\nlines')).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'E_CREDENTIAL_INVALID' });
    expect(JSON.stringify(error)).not.toContain('two');
  });

  it('takes over the lock of a process that is gone, and loses no change of two at once', async () => {
    const store = openStore(context());
    await store.set('zero', Buffer.from('zeroth-secret'));
    writeFileSync(path.join(dir, 'config/secrets.lock'), '999999999 12345');
    await Promise.all(['a', 'b', 'c'].map((name) => store.set(name, Buffer.from(`secret-of-${name}`))));
    expect((await store.list()).map(({ name }) => name).sort()).toEqual(['a', 'b', 'c', 'zero']);
  });

  it('notices every changed byte', async () => {
    const store = openStore(context());
    await store.set('one', Buffer.from('first-secret'));
    const bytes = readFileSync(file());
    const key = readFileSync(path.join(dir, 'state/secrets.key'));
    // Not the cost of scrypt, at offset 9: each value of it is another amount of work.
    const offsets = fc.nat(bytes.length - 1).filter((at) => at !== 9);
    await fc.assert(
      fc.asyncProperty(offsets, fc.integer({ min: 1, max: 255 }), async (at, bits) => {
        const changed = Buffer.from(bytes);
        changed.writeUInt8(changed.readUInt8(at) ^ bits, at);
        expect(await unsealStore(changed, key)).toBeUndefined();
      }),
      { numRuns: 20 },
    );
    writeFileSync(file(), 'garbage');
    await expect(store.list()).rejects.toThrow('no store of this version');
  });

  it('does not work for a hostile cost', async () => {
    const hostile = Buffer.alloc(100);
    hostile.write('GBXSEC1\n');
    hostile[9] = 40;
    expect(keyKindOf(hostile)).toBe('passphrase');
    expect(await unsealStore(hostile, Buffer.from('x'))).toBeUndefined();
  });

  it('says so when it cannot be written', async () => {
    const store = openStore(context());
    await store.set('one', Buffer.from('first-secret'));
    writeFileSync(path.join(dir, 'state/secrets.key'), 'short');
    chmodSync(path.join(dir, 'state/secrets.key'), 0o600);
    await expect(store.set('two', Buffer.from('second-secret'))).rejects.toThrow('missing or cut');
    expect(readdirSync(path.join(dir, 'config'))).toEqual(['secrets.store']);
  });
});
