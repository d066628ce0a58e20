import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { TestBox } from '../support/box.ts';
import { recorded } from '../support/inspection.ts';
import { nodeTree, npmConfig, REGISTRY, registryMissing, registryPlace } from '../support/npm.ts';

const MISSING = registryMissing();

/** Reading alone. A registry may stand below a path of its host. */
function registryRule(): Readonly<Record<string, unknown>> {
  const paths = [`${new URL(REGISTRY).pathname.replace(/\/$/, '')}/**`];
  return { id: 'registry', ...registryPlace(), private: true, methods: ['GET'], paths };
}

/** The settings of this machine's npm; its own certificate authority is for the gateway now, not for the sandbox. */
function npmFlags(): readonly string[] {
  const settings = {
    registry: REGISTRY,
    audit: 'false',
    fund: 'false',
    fetch_retries: '0',
    update_notifier: 'false',
  };
  return [
    ...Object.entries(settings).flatMap(([name, value]) => ['--env', `npm_config_${name}=${value}`]),
    ...nodeTree(),
  ];
}

function usePolicy(box: TestBox): string {
  const trust = npmConfig('cafile');
  box.policy(
    JSON.stringify({
      version: 1,
      network: { allow: [registryRule()], ...(trust === '' ? {} : { trust: [trust] }) },
    }),
  );
  return registryPlace().host;
}

/** What the host's own programs trust, the gateway trusts as well. */
function hostEnv(): Record<string, string> {
  return Object.fromEntries(
    ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

describe.skipIf(MISSING !== undefined)(
  `npm through an inspected rule (${MISSING ?? 'configured registry'})`,
  () => {
    it('installs with GET of metadata and tarballs alone', async () => {
      using box = new TestBox();
      const host = usePolicy(box);
      box.write('package.json', '{ "name": "sample", "version": "1.0.0" }\n');
      const install = ['npm', 'install', 'is-number@7.0.0'];
      const result = await box.run(install, { flags: npmFlags(), env: hostEnv(), timeoutMs: 100_000 });
      expect(result.code, result.stderr).toBe(0);
      expect(existsSync(path.join(box.workspace, 'node_modules/is-number/index.js'))).toBe(true);
      const requests = recorded(box, 'network.request');
      const allowed = { action: 'allow', rule: 'registry', host, method: 'GET', status: 200 };
      expect(requests).toContainEqual(
        expect.objectContaining({ ...allowed, path: expect.stringMatching(/\/is-number$/) as unknown }),
      );
      expect(requests).toContainEqual(
        expect.objectContaining({
          ...allowed,
          path: expect.stringMatching(/is-number-7\.0\.0\.tgz$/) as unknown,
        }),
      );
      expect(requests.filter((data) => data['action'] === 'deny')).toEqual([]);
    }, 120_000);

    it('is refused the PUT of npm publish, and nothing of the package leaves', async () => {
      using box = new TestBox();
      const host = usePolicy(box);
      box.write('package.json', '{ "name": "glovebox-never-published-sample", "version": "0.0.1" }\n');
      const { host: authority, pathname } = new URL(REGISTRY);
      // npm asks for a login before it sends anything; this one is no login anywhere.
      box.write(
        '.npmrc',
        `//${authority}${pathname.replace(/\/?$/, '/')}:_authToken=not-a-token-of-anybody\n`,
      );
      const result = await box.run(['npm', 'publish', '--ignore-scripts'], {
        flags: npmFlags(),
        env: hostEnv(),
        timeoutMs: 100_000,
      });
      expect(result.code).not.toBe(0);
      expect(result.stderr).toMatch(/E40[35]/);
      const requests = recorded(box, 'network.request');
      expect(requests).toContainEqual(
        expect.objectContaining({ action: 'deny', host, method: 'PUT', status: 405, upBytes: 0 }),
      );
      expect(requests.filter((data) => data['method'] === 'PUT' && data['action'] === 'allow')).toEqual([]);
    }, 120_000);
  },
);
