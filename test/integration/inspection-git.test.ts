import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CommandResult, Sandbox } from '../../src/index.ts';
import { TestBox } from '../support/box.ts';
import { GitOrigin, IDENTITY } from '../support/git-origin.ts';
import {
  expectRecord,
  inside,
  inspected,
  missing,
  Outside,
  recorded,
  tlsOrigin,
  WAYS,
  type LocalServer,
  type Way,
} from '../support/inspection.ts';

const HOST = 'git.example.test';
const OPEN = 'forge.example.test';
const PRIVATE = 'private.example.test';
const TOKEN = 'ghp_RealRealRealRealRealRealRealReal0042';

describe.skipIf(missing('git') !== '')(`git over HTTPS${missing('git')}`, () => {
  let outside: Outside;
  let server: LocalServer;
  let box: TestBox;
  let sandbox: Sandbox;
  let origin: GitOrigin;

  beforeAll(async () => {
    outside = new Outside([HOST, OPEN, PRIVATE]);
    origin = new GitOrigin();
    server = await tlsOrigin(outside, (request, response) => origin.handler(request, response));
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    origin?.[Symbol.dispose]();
    outside?.[Symbol.dispose]();
  });

  async function start(): Promise<void> {
    box = new TestBox();
    const rules = [
      { id: 'read', host: HOST, preset: 'git-read', http2: true },
      { id: 'write', host: OPEN, methods: ['GET', 'POST'], paths: ['/repo.git/**'] },
      // git asks without a login first.
      { id: 'private', host: PRIVATE, preset: 'git-read', pin: { credential: 'GIT', require: false } },
    ];
    const sites = { [HOST]: server.port, [OPEN]: server.port, [PRIVATE]: server.port };
    const credentials = { GIT: { from: 'env:GIT_TOKEN', basic: true } };
    const hostEnv = { GIT_TOKEN: TOKEN };
    sandbox = await inspected(box, { rules, sites, outside, credentials, hostEnv, more: { envs: IDENTITY } });
  }

  const git = (way: Way, ...args: string[]): Promise<CommandResult> =>
    inside(sandbox, way.wrap(['git', ...args]), { envs: { GIT_TERMINAL_PROMPT: '0' } });

  describe.each(WAYS)('$way', (way) => {
    beforeEach(async () => {
      await start();
      return async () => {
        await sandbox.kill();
        box[Symbol.dispose]();
      };
    });

    it('clones and fetches, whole and shallow', async () => {
      const url = `https://${HOST}/repo.git`;
      expect(await git(way, 'clone', '--quiet', url, 'one')).toMatchObject({ exitCode: 0, stderr: '' });
      origin.commit(`second-${way.entry}`);
      expect(await git(way, '-C', 'one', 'fetch', '--quiet')).toMatchObject({ exitCode: 0, stderr: '' });
      const log = await git(way, '-C', 'one', 'log', '--format=%s', 'origin/main');
      expect(log.stdout.trim().split('\n')).toEqual(origin.log());
      expect(await git(way, 'clone', '--quiet', '--depth', '1', url, 'two')).toMatchObject({ exitCode: 0 });
      expect((await git(way, '-C', 'two', 'fsck', '--strict')).exitCode).toBe(0);
      const common = { action: 'allow', rule: 'read', entry: way.entry, host: HOST, status: 200 };
      await expectRecord(box, 'network.request', {
        ...common,
        path: '/repo.git/info/refs',
        queryNames: ['service'],
      });
      await expectRecord(box, 'network.request', {
        ...common,
        method: 'POST',
        path: '/repo.git/git-upload-pack',
      });
    });

    it('is refused a push by preset git-read, before the origin hears of it', async () => {
      expect((await git(way, 'clone', '--quiet', `https://${HOST}/repo.git`, 'one')).exitCode).toBe(0);
      expect((await git(way, '-C', 'one', 'commit', '--quiet', '--allow-empty', '-m', 'x')).exitCode).toBe(0);
      origin.seen.length = 0;
      const before = origin.log();
      const pushed = await git(way, '-C', 'one', 'push', 'origin', 'main');
      expect(pushed.exitCode).toBe(128);
      expect(pushed.stderr).toContain('403');
      expect(origin.seen).toEqual([]);
      expect(origin.log()).toEqual(before);
      await expectRecord(box, 'network.request', {
        action: 'deny',
        entry: way.entry,
        host: HOST,
        path: '/repo.git/info/refs',
        status: 403,
      });
    });

    it('logs in with a token that is not inside: in the URL, and by a credential helper', async () => {
      origin.wants = `Basic ${Buffer.from(`me:${TOKEN}`).toString('base64')}`;
      const helper = `helper = "!f() { echo username=me; echo password=$GIT_TOKEN; }; f"`;
      const script = `git clone --quiet "https://me:$GIT_TOKEN@${PRIVATE}/repo.git" one && printf '[credential]\n%s\n' '${helper}' > ~/.gitconfig &&
git clone --quiet https://${PRIVATE}/repo.git two && git -C one log --format=%s -1 && env && cat one/.git/config`;
      const got = await inside(sandbox, way.wrap(['bash', '-c', script]));
      origin.wants = undefined;
      expect(got.exitCode, got.stderr).toBe(0);
      expect(got.stdout + got.stderr).not.toContain(TOKEN);
      expect(got.stdout).toMatch(/ghp_\w{36}@/);
      const common = {
        action: 'allow',
        rule: 'private',
        entry: way.entry,
        credential: 'GIT',
        pin: 'ok',
        status: 200,
      };
      await expectRecord(box, 'network.request', { ...common, path: '/repo.git/git-upload-pack' });
      expect(JSON.stringify(box.records())).not.toContain(TOKEN);
    });

    it('pushes where the rule lets it, in one piece and in chunks', async () => {
      const url = `https://${OPEN}/repo.git`;
      expect((await git(way, 'clone', '--quiet', url, 'one')).exitCode).toBe(0);
      box.write('one/large', Buffer.from(Array.from({ length: 2_000_000 }, (_, i) => (i * i) % 251)));
      for (const [name, buffer] of [
        [`small-${way.entry}`, '100m'],
        [`chunks-${way.entry}`, '4096'],
      ] as const) {
        box.write(`one/${name}`, `${name}\n`);
        expect((await git(way, '-C', 'one', 'add', '.')).exitCode).toBe(0);
        expect((await git(way, '-C', 'one', 'commit', '--quiet', '-m', name)).exitCode).toBe(0);
        const pushed = await git(
          way,
          '-C',
          'one',
          '-c',
          `http.postBuffer=${buffer}`,
          'push',
          '--quiet',
          'origin',
          'main',
        );
        expect(pushed.exitCode, pushed.stderr).toBe(0);
        expect(origin.log()[0]).toBe(name);
      }
      await expectRecord(box, 'network.request', {
        action: 'allow',
        rule: 'write',
        entry: way.entry,
        method: 'POST',
        path: '/repo.git/git-receive-pack',
      });
      expect(recorded(box, 'network.request').filter((data) => data['action'] === 'deny')).toEqual([]);
    });
  });
});
