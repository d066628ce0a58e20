import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/index.ts';
import { TestBox } from '../support/box.ts';
import {
  expectRecord,
  inside,
  inspected,
  missing,
  Outside,
  recorded,
  SampleOrigin,
  sumOf,
  tlsOrigin,
} from '../support/inspection.ts';
import { postgresPrograms, startPostgres, startRedis, type RealServer } from '../support/servers.ts';

const DATABASE = 'db.example.test';
const CACHE = 'cache.example.test';
const HOST = 'api.example.test';

const POSTGRES = postgresPrograms();

describe.skipIf(POSTGRES === undefined)(
  `PostgreSQL by name${POSTGRES === undefined ? ' (skipped: postgresql not installed)' : ''}`,
  () => {
    const programs = POSTGRES ?? '';
    let server: RealServer;
    let box: TestBox;
    let sandbox: Sandbox;

    beforeAll(async () => {
      server = await startPostgres(programs);
      box = new TestBox();
      sandbox = await inspected(box, {
        rules: [{ id: 'db', host: DATABASE, ports: [5432], protocol: 'tcp' }],
        sites: { [DATABASE]: server.port, 'other.example.test': server.port },
      });
    });

    afterAll(async () => {
      await sandbox?.kill();
      await server?.[Symbol.asyncDispose]();
      box?.[Symbol.dispose]();
    });

    const psql = (host: string, sql: string): ReturnType<typeof inside> =>
      inside(sandbox, [
        path.join(programs, 'psql'),
        '-X',
        '-A',
        '-t',
        '-h',
        host,
        '-U',
        'tester',
        'postgres',
        '-c',
        sql,
      ]);

    it('psql asks, writes and copies', async () => {
      expect(await psql(DATABASE, 'select 40 + 2')).toMatchObject({
        exitCode: 0,
        stdout: '42\n',
        stderr: '',
      });
      const made = await psql(
        DATABASE,
        "create table t as select generate_series(1, 100000) as n, 'text' as s",
      );
      expect(made).toMatchObject({ exitCode: 0, stdout: 'SELECT 100000\n' });
      const copied = await psql(DATABASE, 'copy t to stdout');
      expect(copied.stdout.split('\n').length).toBe(100_001);
      const verdict = { action: 'allow', rule: 'db', host: DATABASE, port: 5432, entry: 'transparent' };
      await expectRecord(box, 'network.verdict', { ...verdict, address: '93.184.216.34' });
      await expectRecord(box, 'network.summary', { host: DATABASE, rule: 'db', end: 'closed' });
    });

    it('another host of the same server is not reached', async () => {
      const got = await psql('other.example.test', 'select 1');
      expect(got.exitCode).toBe(2);
      await expectRecord(box, 'network.verdict', {
        action: 'deny',
        host: 'other.example.test',
        rule: 'default.deny',
      });
    });
  },
);

describe.skipIf(missing('redis-server', 'redis-cli') !== '')(
  `Redis by name${missing('redis-server', 'redis-cli')}`,
  () => {
    it('redis-cli sets, reads and pipes', async () => {
      await using server = await startRedis();
      using box = new TestBox();
      const rules = [{ id: 'cache', host: CACHE, ports: [6379], protocol: 'tcp' }];
      await using sandbox = await inspected(box, { rules, sites: { [CACHE]: server.port } });
      const redis = ['redis-cli', '-h', CACHE];
      expect((await inside(sandbox, [...redis, 'set', 'key', 'grüße'])).stdout).toBe('OK\n');
      expect((await inside(sandbox, [...redis, '--raw', 'get', 'key'])).stdout).toBe('grüße\n');
      const script = `for i in $(seq 5000); do echo "SET k$i v$i"; done | redis-cli -h ${CACHE} --pipe`;
      expect((await inside(sandbox, ['bash', '-c', script])).stdout).toContain('errors: 0, replies: 5000');
      expect((await inside(sandbox, [...redis, 'dbsize'])).stdout).toBe('5001\n');
      const verdict = { action: 'allow', rule: 'cache', host: CACHE, port: 6379, entry: 'transparent' };
      await expectRecord(box, 'network.verdict', verdict);
      expect(recorded(box, 'network.verdict').filter((data) => data['action'] === 'deny')).toEqual([]);
    });
  },
);

describe.skipIf(missing('curl') !== '')(`SOCKS5 with names by curl${missing('curl')}`, () => {
  it('leads to the same inspection, and to opaque hosts', async () => {
    const origin = new SampleOrigin();
    using outside = new Outside([HOST]);
    await using server = await tlsOrigin(outside, origin.handler);
    using box = new TestBox();
    const rules = [{ id: 'api', host: HOST, methods: ['GET', 'POST'], paths: ['/v1/**'], http2: true }];
    await using sandbox = await inspected(box, { rules, sites: { [HOST]: server.port }, outside });
    const curl = (args: string): ReturnType<typeof inside> =>
      inside(sandbox, ['bash', '-c', `curl -sS -x "$ALL_PROXY" ${args}`]);
    expect(await curl(`https://${HOST}/v1/hello`)).toMatchObject({
      exitCode: 0,
      stdout: 'hello over 2.0',
      stderr: '',
    });
    expect((await curl(`-d abc https://${HOST}/v1/sum`)).stdout).toBe(sumOf(Buffer.from('abc')));
    expect((await curl(`https://${HOST}/files/x`)).stdout).toContain('"rule":"api.paths"');
    expect((await curl('https://elsewhere.example.test/')).exitCode).toBe(97);
    await expectRecord(box, 'network.request', { action: 'allow', entry: 'socks', path: '/v1/hello' });
    await expectRecord(box, 'network.request', {
      action: 'deny',
      entry: 'socks',
      path: '/files/x',
      status: 403,
    });
    const denied = { action: 'deny', entry: 'socks', host: 'elsewhere.example.test', rule: 'default.deny' };
    await expectRecord(box, 'network.verdict', denied);
  });
});
