import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Airlock } from './airlock.ts';
import type { MaskOp, PlaceholderResult } from './contract.ts';
import { runFinish } from './finish.ts';
import { JAIL_ENV, JailSite, collect, identities, jailMissing, processesNaming } from './jail.fixture.ts';

const missing = jailMissing();

for (const { name, identity } of identities()) {
  describe.skipIf(missing !== undefined)(`placeholders of ${name} (${missing ?? 'ready'})`, () => {
    let site: JailSite;
    beforeAll(() => {
      site = new JailSite(identity);
    });
    beforeEach(() => {
      for (const entry of readdirSync(site.workspace))
        rmSync(path.join(site.workspace, entry), { recursive: true });
    });
    afterAll(() => {
      site.remove();
      expect(processesNaming(site.base)).toEqual([]);
    });

    const placeholder = (at: string, cover: 'empty' | 'hidden' = 'hidden'): MaskOp => ({
      kind: 'placeholder',
      root: site.workspace,
      path: at,
      cover,
    });
    const serve = async (masks: readonly MaskOp[]): Promise<Airlock> => {
      const jail = await site.launch({ mode: 'serve' }, { masks });
      // From here on the inside stage alone holds the locks.
      await jail.session.hello;
      return jail;
    };
    const end = async (jail: Airlock): Promise<void> => {
      await jail.session.shutdown(0);
      await jail.exited;
    };
    const finish = (...paths: string[]): ReturnType<typeof runFinish> => {
      const placeholders = paths.map((at) => ({ root: site.workspace, path: at }));
      return runFinish(site.agent, { placeholders }, identity);
    };
    const run = async (jail: Airlock, script: string): Promise<string> => {
      const command = jail.session.exec({ argv: ['bash', '-c', script], env: JAIL_ENV, cwd: site.workspace });
      const [stdout, stderr] = await Promise.all([collect(command.stdout), collect(command.stderr)]);
      return stdout + stderr;
    };
    const inWorkspace = (at: string): string => path.join(site.workspace, at);

    it('keep a path from being made, and leave nothing', async () => {
      const jail = await serve([placeholder('.env'), placeholder('.git/hooks', 'empty')]);
      expect([...jail.ready.placeholders.values()]).toEqual(['created', 'created']);
      const said = await run(
        jail,
        `echo x > .env; mkdir .env; rmdir .env; mv .env e; chmod 755 .env; ls .git/hooks; echo x > .git/hooks/pre-commit;
         mv .git g; rmdir .git/hooks; echo x > .git/config && cat .git/config`,
      );
      expect(said).toMatch(/^x\n/);
      expect(said.match(/Is a directory|File exists|busy|Permission denied|Read-only/g)?.length).toBe(8);
      await end(jail);
      rmSync(inWorkspace('.git/config'));
      expect(await finish('.env', '.git/hooks')).toMatchObject({ removed: 3, kept: 0, adopted: 0 });
      expect(readdirSync(site.workspace)).toEqual([]);
    });

    it('become ordinary directories where the sandbox put files beside them', async () => {
      const jail = await serve([placeholder('a/b/.env')]);
      await run(jail, 'echo kept > a/file');
      await end(jail);
      expect(await finish('a/b/.env')).toMatchObject({ removed: 2, adopted: 1 });
      expect(readdirSync(inWorkspace('a'))).toEqual(['file']);
      expect(statSync(inWorkspace('a')).mode & 0o7777).toBe(0o755);
    });

    it('yield to a real object, which is covered instead', async () => {
      writeFileSync(inWorkspace('.env'), 'secret');
      site.own(inWorkspace('.env'));
      const jail = await serve([placeholder('.env'), placeholder('.env/deeper')]);
      expect([...jail.ready.placeholders.values()]).toEqual(['real', 'blocked']);
      expect(await run(jail, 'cat .env; rm -f .env')).toMatch(/Permission denied[^]*busy/);
      await end(jail);
      expect(await finish('.env')).toMatchObject({ removed: 0, kept: 0 });
      expect(readFileSync(inWorkspace('.env'), 'utf8')).toBe('secret');
    });

    it('are skipped where nobody could make the path', async () => {
      // Not the user's own: its mode could be changed from inside, and then the start is refused.
      mkdirSync(inWorkspace('closed'), { mode: 0o555 });
      const jail = await serve([placeholder('closed/.env')]);
      const expected: PlaceholderResult =
        identity === undefined && process.getuid?.() === 0 ? 'created' : 'skipped';
      expect([...jail.ready.placeholders.values()]).toEqual([expected]);
      await end(jail);
      await finish('closed/.env');
      expect(readdirSync(inWorkspace('closed'))).toEqual([]);
    });

    it('survive the end of another run, and go with the last one', async () => {
      const first = await serve([placeholder('x/.env')]);
      const second = await serve([placeholder('x/.env')]);
      expect([...second.ready.placeholders.values()]).toEqual(['joined']);
      await end(first);
      expect(await finish('x/.env')).toMatchObject({ removed: 0, kept: 2 });
      expect(await run(second, 'echo x > x/.env/y; mv x z')).toMatch(/denied[^]*busy/);
      await end(second);
      expect(await finish('x/.env')).toMatchObject({ removed: 2, kept: 0 });
      expect(readdirSync(site.workspace)).toEqual([]);
    });

    it('of another policy are never a way around: a parent that is a placeholder itself stays closed', async () => {
      const leaf = await serve([placeholder('a')]);
      const deeper = await serve([placeholder('a/.env')]);
      expect([...deeper.ready.placeholders.values()]).toEqual(['blocked']);
      expect(await run(deeper, 'chmod 755 a; echo x > a/.env; rmdir a')).toMatch(
        /Read-only[^]*(Read-only|denied)[^]*busy/,
      );
      await end(leaf);
      expect(await finish('a')).toMatchObject({ removed: 0, kept: 1 });
      await end(deeper);
      expect(await finish('a', 'a/.env')).toMatchObject({ removed: 1 });
      expect(readdirSync(site.workspace)).toEqual([]);
    });

    it('serve 24 runs at once that start and end in any order', { timeout: 60_000 }, async () => {
      const masks = [
        placeholder('.env'),
        placeholder('deep/er/.npmrc', 'empty'),
        placeholder('.git/hooks', 'empty'),
      ];
      const paths = ['.env', 'deep/er/.npmrc', '.git/hooks'];
      const script = `for i in 1 2 3 4 5; do for p in ${paths.join(' ')}; do [ -d "$p" ] || echo lost; mkdir "$p/x" 2>/dev/null && echo made; done; done; echo ok`;
      const one = async (): Promise<string> => {
        await finish(...paths);
        const jail = await serve(masks);
        const said = await run(jail, script);
        await end(jail);
        await finish(...paths);
        return said;
      };
      const said = await Promise.all(Array.from({ length: 24 }, one));
      expect(said).toEqual(Array.from({ length: 24 }, () => 'ok\n'));
      await finish(...paths);
      expect(readdirSync(site.workspace)).toEqual([]);
    });

    it('of a run that was killed are swept by the next', async () => {
      const jail = await serve([placeholder('p/q/.env')]);
      jail.child.kill('SIGKILL');
      await jail.exited;
      await jail.session.closed;
      expect(existsSync(inWorkspace('p/q/.env'))).toBe(true);
      await expect.poll(async () => (await finish('p/q/.env')).kept, { timeout: 5000 }).toBe(0);
      expect(readdirSync(site.workspace)).toEqual([]);
    });

    it('leave real directories alone', async () => {
      mkdirSync(inWorkspace('.env'));
      mkdirSync(inWorkspace('sticky'), { mode: 0o1777 });
      expect(await finish('.env', 'sticky', 'none', 'none/at/all')).toMatchObject({
        removed: 0,
        kept: 0,
        adopted: 0,
      });
      expect(readdirSync(site.workspace)).toEqual(['.env', 'sticky']);
    });
  });
}
