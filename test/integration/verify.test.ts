import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { jailMissing } from '../../src/agent/jail.fixture.ts';
import { Sandbox } from '../../src/sandbox/sandbox.ts';
import type { Verification } from '../../src/verify/contract.ts';
import { VerifySite } from '../../src/verify/site.ts';
import { CHECKS, verifiedOptions, verifySandbox, verifyWalls } from '../../src/verify/verify.ts';
import { processesWith, until } from '../support/attack.ts';
import { GLOVEBOX, TestBox } from '../support/box.ts';
import { expectNothingLeft } from '../support/tree.ts';

const missing = jailMissing();

const failed = ({ checks }: Verification): readonly (readonly [string, string | undefined])[] =>
  checks.filter(({ state }) => state === 'fail').map(({ name, detail }) => [name, detail]);

describe.skipIf(missing !== undefined)(
  `glovebox verify${missing === undefined ? '' : ` (${missing})`}`,
  () => {
    it('finds that the walls of a sandbox hold, having tried all of them, and leaves nothing', async () => {
      using box = new TestBox();
      const verification = await verifyWalls({ tier: 'process' }, box.env());
      expect(failed(verification)).toEqual([]);
      expect(verification.checks.map(({ name }) => name)).toEqual(CHECKS.map(({ name }) => name));
      expect(verification.checks.filter(({ state }) => state === 'skip')).toEqual([]);
      expect(verification).toMatchObject({ tier: 'process', driver: 'bubblewrap', holds: true });
      await expectNothingLeft(box, 5000);
    });

    it('finds every wall that a weak sandbox lacks', async () => {
      using box = new TestBox();
      const site = await VerifySite.make();
      try {
        const { hostEnv } = verifiedOptions(site, box.env());
        await using sandbox = await Sandbox.create({
          tier: 'process',
          workspace: site.workspace,
          write: [site.outside('')],
          envs: { LEAKED: site.canary },
          ...(hostEnv === undefined ? {} : { hostEnv }),
        });
        // Another audit log than the sandbox's: its refusals are nowhere.
        const env = { ...box.env(), XDG_STATE_HOME: site.config };
        const verification = await verifySandbox(sandbox, site, env);
        expect(verification.holds).toBe(false);
        expect(failed(verification)).toEqual([
          ['file outside', 'the canary was read'],
          ['denied file', 'the canary was read'],
          ['protected file', 'the file of the host has changed'],
          ['write outside', 'a file of the host was written'],
          ['first process', 'the canary was read'],
          ['environment', 'the secret is there'],
          ...['unlisted address', 'metadata service', 'IPv6', 'unlisted name'].map((name) => [
            name,
            'the refusal is not in the audit log',
          ]),
        ]);
      } finally {
        site.remove();
      }
      expect(existsSync(site.base)).toBe(false);
    });

    it('says it on the command line, with an exit code for it', async () => {
      using box = new TestBox();
      const good = await box.cli(['verify', '--tier', 'process', '--json']);
      expect(good.stderr).toBe('');
      expect(good.code).toBe(0);
      expect(JSON.parse(good.stdout)).toMatchObject({ tier: 'process', holds: true });
      const wrong = await box.cli(['verify', '--allow', 'example.com']);
      expect(wrong.code).toBe(125);
      expect(wrong.stderr).toContain('verify takes no option for allow');
      const none = await box.cli(['verify', '--tier', 'vm', '--driver', 'firecracker']);
      expect(none.code).toBe(125);
      expect(none.stderr).toContain('driver firecracker');
    });

    it.each(['SIGTERM', 'SIGKILL'] as const)(
      'leaves no process of its own when %s ends it',
      async (signal) => {
        using box = new TestBox();
        const child = spawn(process.execPath, [GLOVEBOX, 'verify', '--tier', 'process'], {
          cwd: box.workspace,
          env: { ...box.env(), TMPDIR: box.base },
          stdio: 'ignore',
        });
        const sites = (): readonly string[] =>
          readdirSync(box.base).filter((name) => name.startsWith('glovebox-verify-'));
        const canaries = (): readonly number[] => processesWith('read line; : canary-');
        await until(() => sites().length > 0 && canaries().length > 0, 'the canaries to stand');
        child.kill(signal);
        const [code] = await once(child, 'exit');
        expect(code).toBe(signal === 'SIGTERM' ? 143 : null);
        await until(() => canaries().length === 0, 'the canary of the host to end');
        if (signal === 'SIGTERM') expect(sites()).toEqual([]);
      },
    );
  },
);

describe('every attempt to get out', () => {
  it.each(CHECKS.map((check) => [check.name, check] as const))(
    '%s does not take silence for a wall',
    async (_name, check) => {
      const site = await VerifySite.make();
      try {
        // What a sandbox says in which everything worked.
        const said = `got ${site.canary}\nseen\nwrote /etc\nmade a node\nread /dev/mem\nused mount\ngained\n`;
        site.reached = 1;
        if (check.name === 'host process') process.kill(-site.pid, 'SIGKILL');
        expect(check.script(site)).not.toBe('');
        if (!['protected file', 'control'].includes(check.name))
          expect(check.breach(said, site)).toBeTypeOf('string');
      } finally {
        site.remove();
      }
    },
  );
});
