import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeAirlockSpec, encodeBootSpec } from './boot.ts';
import { JAIL_ENV, JailSite, identities, jailMissing, processesNaming, until } from './jail.fixture.ts';

const missing = jailMissing();

/** A launcher of its own, so that it can be killed: it writes its pid into the first record of the first frame. */
const LAUNCHER = `
  const { spawn } = require('node:child_process');
  const { readFileSync } = require('node:fs');
  const [agent, file, uid, gid] = process.argv.slice(1);
  const frames = readFileSync(file);
  frames.writeUInt32LE(process.pid, 18);
  const as = uid === '' ? {} : { uid: Number(uid), gid: Number(gid) };
  const child = spawn(agent, ['airlock'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc', 'pipe'], detached: true, env: {}, ...as });
  child.on('exit', (code) => console.log('exit ' + code));
  child.stdio[4].on('data', (data) => { if (data.includes('running')) console.log('running'); });
  child.stdio[4].on('error', () => undefined);
  child.stdio[4].write(frames);
`;

for (const { name, identity } of identities()) {
  describe.skipIf(missing !== undefined)(`the life of a jail run by ${name} (${missing ?? 'ready'})`, () => {
    const launch = async (site: JailSite, parentPid?: number): Promise<ReturnType<typeof spawn>> => {
      const script = `echo running; for i in 1 2 3; do (setsid setsid bash -c 'sleep 333; :' ${site.base} &) ; done; exec bash -c 'sleep 333; :' ${site.base}`;
      const spec = {
        parentPid: 1,
        scratch: site.directory('scratch'),
        network: false,
        argv: site.argv(),
        env: JAIL_ENV,
      };
      const exec = { argv: ['bash', '-c', script], env: JAIL_ENV, cwd: '/' };
      const file = path.join(site.base, 'frames');
      writeFileSync(
        file,
        Buffer.concat([encodeAirlockSpec(spec), encodeBootSpec({ mode: 'oneshot', exec })]),
      );
      const source =
        parentPid === undefined ? LAUNCHER : LAUNCHER.replace('process.pid, 18', `${parentPid}, 18`);
      const ids = identity === undefined ? ['', ''] : [String(identity.uid), String(identity.gid)];
      return spawn(process.execPath, ['-e', source, site.agent, file, ...ids], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
    };
    const said = (child: ReturnType<typeof spawn>): Promise<string> =>
      new Promise((resolve) => child.stdout?.once('data', (data: Buffer) => resolve(data.toString().trim())));

    it('ends when its launcher is killed', async () => {
      const site = new JailSite(identity);
      const launcher = await launch(site);
      try {
        expect(await said(launcher)).toBe('running');
        expect(await until(() => processesNaming(site.base).length > 4)).toBe(true);
      } finally {
        launcher.kill('SIGKILL');
      }
      expect(await until(() => processesNaming(site.base).length === 0)).toBe(true);
      site.remove();
    });

    it('does not start for a launcher that is not its parent', async () => {
      const site = new JailSite(identity);
      expect(await said(await launch(site, 1))).toBe('exit 125');
      site.remove();
    });

    it('does not start with an agent that is not there', async () => {
      const site = new JailSite(identity);
      const start = site.launch({ mode: 'serve' }, {}, { agent: '/nowhere/agent' });
      await expect(start).rejects.toMatchObject({
        code: 'E_SANDBOX_START',
        why: expect.stringContaining('ENOENT'),
      });
      site.remove();
    });

    it('ends when the agent is lost, and says so', async () => {
      const site = new JailSite(identity);
      const jail = await site.launch({ mode: 'serve' });
      const command = jail.session.exec({ argv: ['sleep', '60'], env: JAIL_ENV, cwd: '/' });
      await command.started;
      jail.child.kill('SIGKILL');
      await expect(command.exit).rejects.toMatchObject({ code: 'E_SANDBOX_LOST' });
      await jail.session.closed;
      expect(await until(() => processesNaming(site.base).length === 0)).toBe(true);
      site.remove();
    });

    it('ends when the session is destroyed', async () => {
      const site = new JailSite(identity);
      const jail = await site.launch({ mode: 'serve' });
      const command = jail.session.exec({ argv: ['sleep', '60'], env: JAIL_ENV, cwd: '/' });
      await command.started;
      jail.session.destroy();
      await expect(command.exit).rejects.toMatchObject({ code: 'E_SANDBOX_LOST' });
      expect(await until(() => processesNaming(site.base).length === 0)).toBe(true);
      site.remove();
    });
  });
}
