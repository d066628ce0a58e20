// A registry that sends blobs, tokens and logins elsewhere. Source: CVE-2020-15157 (containerd forwarded credentials to foreign layers).
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { AttackBox } from '../support/attack.ts';
import { imageOf, LOGIN, TestRegistry } from '../support/registry.ts';

it('no credential follows a redirect to another host', async () => {
  using box = new AttackBox('process');
  await using other = await TestRegistry.start();
  await using registry = await TestRegistry.start({
    auth: 'basic',
    redirect: (digest) => `http://user:word@${other.host}/cdn/${digest}`,
  });
  const image = imageOf({ layers: [[{ name: 'x' }]] });
  registry.add('app', 'latest', image);
  other.add('app', 'latest', image);
  mkdirSync(path.join(box.home, '.docker'));
  const auth = Buffer.from(LOGIN).toString('base64');
  writeFileSync(
    path.join(box.home, '.docker/config.json'),
    JSON.stringify({ auths: { [registry.host]: { auth } } }),
  );
  const result = await box.cli(['image', 'pull', '--auth', `${registry.host}/app`]);
  expect(result).toMatchObject({ code: 0 });
  expect(registry.seen.some(({ authorization }) => authorization?.endsWith(auth))).toBe(true);
  expect(other.seen.filter(({ url }) => url.startsWith('/cdn/'))).toHaveLength(2);
  expect(other.seen.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
  expect(JSON.stringify(box.records()) + result.stderr).not.toMatch(/pass:word|user:word/);
  expect(box.records().at(-1)).toMatchObject({ kind: 'image.changed' });
});

it('a redirect in a circle ends, with a record', async () => {
  using box = new AttackBox('process');
  const self: { host?: string } = {};
  await using registry = await TestRegistry.start({
    redirect: (digest) => `http://${self.host}/v2/app/blobs/${digest}`,
  });
  self.host = registry.host;
  registry.add('app', 'latest', imageOf({ layers: [[{ name: 'x' }]] }));
  const result = await box.cli(['image', 'pull', `${registry.host}/app`]);
  expect(result.stderr).toContain('redirects in a circle');
  expect(registry.fetched.length).toBeLessThan(10);
  expect(box.records().at(-1)).toMatchObject({ kind: 'image.refused', data: { code: 'E_IMAGE_REGISTRY' } });
});
