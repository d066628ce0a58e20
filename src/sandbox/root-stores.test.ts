import { expect, test } from 'vitest';
import { RootStores } from './root-stores.ts';

test('one environment has one store, another environment and another owner have their own', async () => {
  const owner = new RootStores();
  const env = { SSL_CERT_FILE: '/nonexistent/one.pem' };
  const same = { ...env };
  expect(await owner.of(env)).toBe(await owner.of(env));
  expect(await owner.of(same)).not.toBe(await owner.of(env));
  expect(await new RootStores().of(env)).not.toBe(await owner.of(env));
});

test('a store reads what its environment names', async () => {
  const store = await new RootStores().of({ SSL_CERT_FILE: '/nonexistent/one.pem' });
  await expect(store.hostBundle()).rejects.toMatchObject({ code: 'E_IO' });
});
