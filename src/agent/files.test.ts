import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ServingJail } from './files.fixture.ts';
import { openJail } from './files.fixture.ts';
import { identities, jailMissing, JailSite, until } from './jail.fixture.ts';

const missing = jailMissing();

/** Processes that one command sees and the next still does: those that do file work. */
async function handsOf(jail: ServingJail): Promise<string[]> {
  const seen = async (): Promise<string[]> =>
    (await jail.sh('cd /proc; echo [0-9]*')).split(/\s+/).filter((pid) => pid !== '' && pid !== '1');
  const before = await seen();
  return (await seen()).filter((pid) => before.includes(pid));
}

async function eventually(check: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 50; i++) {
    if (await check()) return true;
    await delay(100);
  }
  return check();
}

for (const { name: who, identity } of identities()) {
  describe.skipIf(missing !== undefined)(`file work in a jail run by ${who} (${missing ?? 'ready'})`, () => {
    let site: JailSite;
    let jail: ServingJail;
    beforeAll(async () => {
      site = new JailSite(identity);
      jail = await openJail(site);
    });
    afterAll(async () => {
      await jail.close();
      site.remove();
    });
    const at = (name: string): string => path.join(site.workspace, name);

    it('streams large files both ways, byte for byte', async () => {
      const content = randomBytes(3_333_333);
      async function* pieces(): AsyncGenerator<Uint8Array> {
        for (let i = 0; i < content.length; i += 100_001) yield content.subarray(i, i + 100_001);
      }
      const entry = await jail.files.write(at('large'), pieces(), { mode: 0o600 });
      expect(entry).toMatchObject({ size: content.length, mode: 0o600, type: 'file', name: 'large' });
      const hash = createHash('sha256');
      for await (const chunk of jail.files.read(at('large'))) hash.update(chunk);
      expect(hash.digest('hex')).toBe(createHash('sha256').update(content).digest('hex'));
      const part = await jail.files.readAll(at('large'), { offset: 1_000_000, length: 70_000 });
      expect(part.equals(content.subarray(1_000_000, 1_070_000))).toBe(true);
      await expect(jail.files.readAll(at('large'), { maxBytes: 1000 })).rejects.toMatchObject({
        code: 'E_FILE_TOO_LARGE',
      });
    });

    it('leaves nothing of an atomic write that is given up, by the writer or its content', async () => {
      mkdirSync(at('atomic'));
      site.own(at('atomic'));
      await jail.files.write(at('atomic/file'), 'old');
      const abort = new AbortController();
      async function* endless(): AsyncGenerator<Uint8Array> {
        for (let i = 0; ; i++) {
          yield Buffer.alloc(50_000);
          if (i === 20) abort.abort();
        }
      }
      const written = jail.files.write(at('atomic/file'), endless(), { atomic: true, signal: abort.signal });
      await expect(written).rejects.toMatchObject({ code: 'E_ABORTED' });
      async function* broken(): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(50_000);
        throw new Error('the source broke');
      }
      await expect(jail.files.write(at('atomic/file'), broken(), { atomic: true })).rejects.toThrow(
        'the source broke',
      );
      expect(await until(() => readdirSync(at('atomic')).length === 1)).toBe(true);
      expect(readFileSync(at('atomic/file'), 'utf8')).toBe('old');
      expect((await jail.sh('ls /proc | grep -c "^[0-9]"')).trim()).toMatch(/^[1-5]$/);
    });

    it('tells the ways of writing apart', async () => {
      await jail.files.write(at('w'), 'abc');
      await jail.files.write(at('w'), 'def', { how: 'append' });
      await jail.files.write(at('w'), 'X', { how: 'update', offset: 1 });
      expect((await jail.files.readAll(at('w'))).toString()).toBe('aXcdef');
      const again = jail.files.write(at('w'), '', { how: 'exclusive' });
      await expect(again).rejects.toMatchObject({ code: 'E_FILE_EXISTS', context: { name: 'EEXIST' } });
      await expect(jail.files.write(at('w'), '', { how: 'append', atomic: true })).rejects.toMatchObject({
        code: 'E_USAGE',
      });
    });

    it('lists 100,000 names, and stops where it is told to', async () => {
      await jail.sh(`mkdir many && cd many && seq -f 'file%06g' 100000 | xargs touch`);
      const { entries, truncated } = await jail.files.list(at('many'));
      expect({ count: entries.length, truncated }).toEqual({ count: 100_000, truncated: false });
      expect(entries[0]?.name).toBe('file000001');
      expect(entries.at(-1)?.path).toBe(at('many/file100000'));
      expect(await jail.files.list(at('many'), { maxEntries: 10 })).toMatchObject({ truncated: true });
      let seen = 0;
      for await (const entry of jail.files.entries(at('many'))) if (++seen === 5 && entry.size === 0) break;
      expect(seen).toBe(5);
      expect(await jail.files.remove(at('many'), { recursive: true })).toBe(100_001);
      expect(existsSync(at('many'))).toBe(false);
    });

    it('knows odd names: newline, 255 bytes, bytes that are no UTF-8; and refuses what no name can be', async () => {
      const odd = ['a\nb', 'x'.repeat(255), 'caf\udce9', ' ', '-rf', '"\\$(x)'];
      for (const name of odd) await jail.files.write(at(`odd/${name}`), name, { parents: true });
      const { entries } = await jail.files.list(at('odd'));
      expect(entries.map((entry) => entry.name).toSorted()).toEqual(odd.toSorted());
      expect((await jail.files.readAll(at('odd/caf\udce9'))).length).toBeGreaterThan(0);
      expect(
        readdirSync(at('odd'), 'buffer').some((name) => name.equals(Buffer.from('caf\xe9', 'latin1'))),
      ).toBe(true);
      for (const bad of [
        `${at('odd')}/${'x'.repeat(256)}`,
        `/${'x/'.repeat(3000)}`,
        at('a\0b'),
        'relative',
        '',
      ])
        await expect(jail.files.stat(bad)).rejects.toMatchObject({ code: 'E_FILE_NAME' });
      await jail.files.remove(at('odd'), { recursive: true });
    });

    it('shows sizes and times that no number can say as the nearest', async () => {
      await jail.sh(
        'truncate -s 8E /tmp/huge 2>/dev/null || truncate -s 7E /tmp/huge; touch -d @99999999999999 /tmp/huge',
      );
      const { entries } = await jail.files.list('/tmp');
      const huge = entries.find((entry) => entry.name === 'huge');
      expect(huge).toMatchObject({ size: Number.MAX_SAFE_INTEGER, mtimeMs: 8.64e15 });
    });

    it('makes, moves, links, removes', async () => {
      expect(await jail.files.mkdir(at('d/e/f'), { recursive: true, mode: 0o700 })).toBe(true);
      expect(await jail.files.mkdir(at('d/e/f'), { recursive: true })).toBe(false);
      await expect(jail.files.mkdir(at('d/e/f'))).rejects.toMatchObject({ code: 'E_FILE_EXISTS' });
      await jail.files.write(at('d/one'), '1');
      expect(await jail.files.rename(at('d/one'), at('d/new/two'), { parents: true })).toMatchObject({
        name: 'two',
        size: 1,
      });
      await jail.files.write(at('d/one'), '1');
      const taken = jail.files.rename(at('d/one'), at('d/new/two'), { noReplace: true });
      await expect(taken).rejects.toMatchObject({ code: 'E_FILE_EXISTS' });
      expect(await jail.files.symlink('new/two', at('d/link'))).toMatchObject({
        type: 'symlink',
        leadsTo: 'file',
      });
      expect(await jail.files.readlink(at('d/link'))).toBe('new/two');
      expect(await jail.files.stat(at('d/link'), { follow: true })).toMatchObject({ type: 'file', size: 1 });
      await jail.files.chmod(at('d/one'), 0o400);
      expect(statSync(at('d/one')).mode & 0o777).toBe(0o400);
      await expect(jail.files.remove(at('d'))).rejects.toMatchObject({ code: 'E_FILE_NOT_EMPTY' });
      await expect(jail.files.list(at('d/one'))).rejects.toMatchObject({ code: 'E_FILE_NOT_DIRECTORY' });
      await expect(jail.files.readAll(at('d'))).rejects.toMatchObject({ code: 'E_FILE_IS_DIRECTORY' });
      expect(await jail.files.remove(at('d'), { recursive: true })).toBe(7);
      expect(await jail.files.exists(at('d'))).toBe(false);
      expect(await jail.files.exists(at('w/below-a-file'))).toBe(false);
    });

    it('never waits for a pipe, and reads neither devices nor its own process', async () => {
      await jail.sh(
        'mkfifo fifo; ln -s /proc/self/mem mem; ln -s /proc/self/environ environ; ln -s /dev/zero zero',
      );
      for (const name of ['fifo', 'zero']) {
        await expect(jail.files.readAll(at(name))).rejects.toMatchObject({ code: 'E_FILE_UNSUPPORTED' });
        await expect(jail.files.write(at(name), 'x')).rejects.toMatchObject({ code: 'E_FILE_UNSUPPORTED' });
      }
      for (const name of ['mem', 'environ'])
        await expect(jail.files.readAll(at(name))).rejects.toMatchObject({ code: 'E_FILE_PERMISSION' });
      expect((await jail.files.readAll('/proc/version')).toString()).toContain('Linux');
      expect(await jail.files.stat(at('fifo'))).toMatchObject({ type: 'fifo' });
    });

    it('goes on serving while somebody stops the work', async () => {
      await jail.files.write(at('stop/large'), Buffer.alloc(3_000_000), { parents: true });
      await jail.files.write(at('stop/small'), 'small');
      const stopped = jail.files.read(at('stop/large'));
      await jail.sh(
        'for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p != 1 ] && [ $p != $$ ] && kill -STOP $p; done; true',
      );
      expect((await jail.files.readAll(at('stop/small'))).toString()).toBe('small');
      stopped.destroy();
      expect(await until(() => stopped.closed)).toBe(true);
      const killed = jail.files.read(at('stop/large'));
      const reading = (async () => {
        for await (const chunk of killed) if (chunk.length === 0) break;
      })().catch((error: unknown) => expect(error).toMatchObject({ code: 'E_IO', context: { signal: 9 } }));
      await jail.sh(
        'for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p != 1 ] && [ $p != $$ ] && kill -KILL $p; done; true',
      );
      await reading;
      expect((await jail.files.readAll(at('stop/small'))).toString()).toBe('small');
    });

    it('lets the same hands do one request after another, and does without those that somebody ended', async () => {
      await jail.files.write(at('hands'), 'content');
      const hands = await handsOf(jail);
      expect(hands.length).toBeGreaterThan(0);
      for (let i = 0; i < 20; i++) await jail.files.stat(at('hands'));
      expect(await handsOf(jail)).toEqual(hands);
      for (const signal of ['KILL', 'TERM', 'STOP', 'INT', 'TSTP', 'HUP']) {
        await jail.sh(`kill -${signal} -- $(cd /proc; ls -d [0-9]* | grep -vx -e 1 -e $$) 2>/dev/null; true`);
        expect((await jail.files.readAll(at('hands'))).toString(), signal).toBe('content');
        await jail.files.write(at('hands'), 'content', { atomic: true });
      }
      await Promise.all(Array.from({ length: 16 }, () => jail.files.stat(at('hands'))));
      expect(await eventually(async () => (await handsOf(jail)).length <= 2)).toBe(true);
      expect((await jail.session.processes()).map(({ name }) => name)).not.toContain('agent');
    });

    it('counts processor time for each request where it is limited', async () => {
      const limits = [{ resource: 0, soft: 100n, hard: 100n }];
      const limited = await openJail(site, { limits });
      for (let i = 0; i < 3; i++) await limited.files.stat(site.workspace);
      expect(await eventually(async () => (await handsOf(limited)).length === 0)).toBe(true);
      await limited.close();
    });

    it('watches a tree: what is made, written, renamed and removed in it, new directories too', async () => {
      mkdirSync(at('seen/sub'), { recursive: true });
      for (const name of ['seen', 'seen/sub']) site.own(at(name));
      const watch = await jail.files.watch(at('seen'), { recursive: true });
      await jail.sh(
        'cd seen; echo 1 > sub/a; mkdir -p new/deep; sleep 0.1; echo 2 > new/deep/b; mv new old; echo 3 >> old/deep/b; chmod 600 sub/a; rm -r sub',
      );
      const events: string[] = [];
      for await (const event of watch) {
        if (event.type === 'overflow') continue;
        events.push(`${event.type} ${event.path}${event.type === 'rename' ? ` ${event.to}` : ''}`);
        if (events.at(-1) === 'remove sub') break;
      }
      expect(events).toEqual([
        'create sub/a',
        'write sub/a',
        'create new',
        'create new/deep',
        'create new/deep/b',
        'write new/deep/b',
        'rename new old',
        'write old/deep/b',
        'chmod sub/a',
        'remove sub/a',
        'remove sub',
      ]);
      await watch.stop();
    });

    it('says when a watch lost something, ends with its directory, and stops', async () => {
      mkdirSync(at('busy'));
      site.own(at('busy'));
      const watch = await jail.files.watch(at('busy'));
      // More than the queue of the kernel holds, and nobody reads.
      await jail.sh(
        'cd busy; for i in $(seq 40); do seq -f "n$i-%g" 1000 | xargs touch; done; rm -r ../busy',
      );
      let overflow = 0;
      for await (const event of watch) if (event.type === 'overflow') overflow += 1;
      expect(overflow).toBe(1);
      const second = await jail.files.watch(site.workspace, { recursive: true });
      const ended = (async () => {
        for await (const event of second) expect(event.type).toBeDefined();
      })();
      await second.stop();
      await ended;
      await expect(jail.files.watch(at('none'))).rejects.toMatchObject({ code: 'E_FILE_NOT_FOUND' });
    });

    it('lists processes, with those that were started from outside', async () => {
      const command = jail.start('exec -a "odd ) R 1 (name" sleep 100');
      await command.started;
      expect(await until(() => true)).toBe(true);
      let found;
      for (let i = 0; i < 100 && found?.name !== 'sleep'; i++)
        found = (await jail.session.processes()).find((one) => one.stream === command.id);
      expect(found).toMatchObject({
        argv: ['odd ) R 1 (name', '100'],
        ppid: 1,
        state: expect.stringMatching(/[SRD]/),
      });
      expect(Math.abs((found?.startedMs ?? 0) - Date.now())).toBeLessThan(60_000);
      expect((await jail.session.processes()).some((one) => one.pid === 1)).toBe(false);
      command.kill(9);
      await command.exit;
    });

    it('waits for a port, and gives up', async () => {
      const late = jail.session.waitForPort(4321, { timeoutMs: 20_000 });
      const server = jail.start(
        'exec python3 -c "import socket,time; time.sleep(0.3); s=socket.create_server((\'127.0.0.1\',4321)); time.sleep(60)"',
      );
      await late;
      expect(await jail.session.ports()).toContainEqual(
        expect.objectContaining({ port: 4321, address: '127.0.0.1' }),
      );
      const socket = await jail.session.dial(4321);
      expect(net.isIP('127.0.0.1')).toBe(4);
      socket.destroy();
      server.kill(9);
      await server.exit;
      const never = jail.session.waitForPort(4322, { timeoutMs: 50 });
      await expect(never).rejects.toMatchObject({ code: 'E_TIMEOUT' });
      const abort = new AbortController();
      const aborted = jail.session.waitForPort(4322, { signal: abort.signal });
      abort.abort();
      await expect(aborted).rejects.toMatchObject({ code: 'E_ABORTED' });
    });

    it('does with a link what a command would: nothing of the host is reached', async () => {
      writeFileSync(path.join(site.base, 'outside'), 'secret of the host');
      symlinkSync(path.join(site.base, 'outside'), at('out'));
      await expect(jail.files.readAll(at('out'))).rejects.toMatchObject({ code: 'E_FILE_NOT_FOUND' });
      // The link leads into the jail's own /tmp.
      await jail.files.mkdir(site.base, { recursive: true });
      expect(await jail.files.write(at('out'), 'x')).toMatchObject({ size: 1 });
      await expect(jail.files.write('/usr/x', 'x')).rejects.toMatchObject({ code: 'E_FILE_PERMISSION' });
      await expect(jail.files.remove('/usr', { recursive: true })).rejects.toMatchObject({
        code: expect.stringMatching(/^E_FILE_/),
      });
      expect(readFileSync(path.join(site.base, 'outside'), 'utf8')).toBe('secret of the host');
      expect(existsSync('/usr/bin/env')).toBe(true);
    });
  });
}
