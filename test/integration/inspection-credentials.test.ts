import { createHash, createHmac } from 'node:crypto';
import type { Http2ServerRequest } from 'node:http2';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CommandResult, Sandbox } from '../../src/index.ts';
import { PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import {
  bodyOf,
  expectRecord,
  inside,
  inspected,
  missing,
  Outside,
  recorded,
  tlsOrigin,
  WAYS,
  type Handler,
  type LocalServer,
} from '../support/inspection.ts';

const HOSTS = {
  bearer: 'bearer.example.test',
  header: 'header.example.test',
  basic: 'basic.example.test',
  query: 'query.example.test',
  cookie: 'cookie.example.test',
  aws: 'aws.example.test',
} as const;
const FREE = 'free.example.test';

const SECRETS = {
  bearer: 'tok-3f9c51d07a2b48e6a1c4',
  header: 'key-aa17e0b94c6d4f0e9b35',
  basic: 'pat-6be2d9710c3a4518b7ef',
  query: 'qry-d04e8a6f5b1c42739a80',
  cookie: 'sid-91c7f3a2e85d4b06bd14',
  awsId: 'AKIAREALREALREAL7777',
  awsKey: 'sEcReT/KeyOfTheTests+0123456789abcdefGHI',
} as const;
const ALL = Object.values(SECRETS);

interface Seen {
  readonly host: string;
  readonly url: string;
  readonly method: string;
  readonly headers: Http2ServerRequest['headers'];
  readonly body: Buffer;
}

const seen: Seen[] = [];
const sites = (port: number): Record<string, number> =>
  Object.fromEntries([...Object.values(HOSTS), FREE].map((host) => [host, port]));

/** Says the secret back in the way that the path names. */
const echo: Handler = (request, response) => {
  void (async (): Promise<void> => {
    const body = await bodyOf(request as AsyncIterable<Buffer>);
    const host = String(request.headers[':authority'] ?? request.headers.host);
    seen.push({ host, url: request.url, method: request.method, headers: request.headers, body });
    const said = `token=${SECRETS.bearer} end`;
    if (request.url === '/echo/plain') response.end(said);
    else if (request.url === '/echo/base64') response.end(Buffer.from(said).toString('base64'));
    else if (request.url === '/echo/header') {
      response.setHeader('x-echo', said);
      response.end('in a header');
    } else if (request.url === '/echo/split') {
      response.write(said.slice(0, 15));
      setImmediate(() => response.end(said.slice(15)));
    } else if (request.url === '/echo/gzip') {
      response.setHeader('content-encoding', 'gzip');
      response.end(gzipSync(said));
    } else response.end('fine');
  })();
};

let outside: Outside;
let server: LocalServer;
let box: TestBox;
let sandbox: Sandbox;
let keyFile: string;

beforeAll(async () => {
  outside = new Outside([...Object.values(HOSTS), FREE]);
  server = await tlsOrigin(outside, echo);
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  outside?.[Symbol.dispose]();
});

function prepareHost(): void {
  keyFile = path.join(box.base, 'key');
  writeFileSync(keyFile, `${SECRETS.header}\n`, { mode: 0o600 });
  mkdirSync(path.join(box.home, '.aws'), { recursive: true });
  const lines = [`aws_access_key_id = ${SECRETS.awsId}`, `aws_secret_access_key = ${SECRETS.awsKey}`];
  writeFileSync(path.join(box.home, '.aws/credentials'), `[default]\n${lines.join('\n')}\n`, { mode: 0o600 });
}

const credentials = (): Readonly<Record<string, unknown>> => ({
  BEARER: { from: 'env:BEARER', bearer: true },
  HEADER: { from: `file:${keyFile}`, header: 'x-api-key', expose: { env: 'HEADER' } },
  BASIC: { from: { command: ['/bin/echo', SECRETS.basic] }, basic: true, expose: { env: 'BASIC' } },
  QUERY: { from: 'env:QUERY', query: 'key' },
  COOKIE: { from: 'env:COOKIE', cookie: 'sid' },
  AWS: {
    from: { accessKeyId: 'env:AWS_ID', secretAccessKey: 'env:AWS_KEY' },
    expose: { files: ['~/.aws/credentials'] },
  },
});

beforeEach(async () => {
  seen.length = 0;
  box = new TestBox();
  prepareHost();
  const rules = Object.entries(HOSTS).map(([kind, host]) => ({
    id: kind,
    host,
    paths: ['/**'],
    http2: true,
    credential: kind.toUpperCase(),
  }));
  sandbox = await inspected(box, {
    rules: [...rules, { id: 'free', host: FREE, paths: ['/**'] }],
    sites: sites(server.port),
    outside,
    credentials: credentials(),
    hostEnv: {
      BEARER: SECRETS.bearer,
      QUERY: SECRETS.query,
      COOKIE: SECRETS.cookie,
      AWS_ID: SECRETS.awsId,
      AWS_KEY: SECRETS.awsKey,
    },
  });
});

afterEach(async () => {
  await sandbox?.kill();
  const log = JSON.stringify(box.records());
  for (const secret of ALL) expect(log).not.toContain(secret);
  box?.[Symbol.dispose]();
});

/** A shell line inside; no secret may come out of it. */
async function shell(script: string, wrap = WAYS[0].wrap): Promise<CommandResult> {
  const got = await inside(sandbox, wrap(['bash', '-c', script]));
  for (const secret of ALL) {
    expect(got.stdout + got.stderr).not.toContain(secret);
    expect(got.stdout).not.toContain(Buffer.from(secret).toString('base64').slice(4, -4));
  }
  return got;
}

const curl = (args: string): string => `curl -sS ${args}`;

async function expectSwapped(kind: keyof typeof HOSTS, entry: string): Promise<void> {
  const data = { action: 'allow', rule: kind, credential: kind.toUpperCase(), pin: 'ok', entry, status: 200 };
  await expectRecord(box, 'network.request', { ...data, host: HOSTS[kind] });
}

const basicOf = (user: string, secret: string): string =>
  `Basic ${Buffer.from(`${user}:${secret}`).toString('base64')}`;

describe.each(WAYS)(`the secret is put in, $way${missing('curl')}`, ({ entry, wrap }) => {
  it('as Bearer, from a variable; for curl and for Python', async () => {
    const url = `https://${HOSTS.bearer}/x`;
    const first = await shell(`echo $BEARER; ${curl(`-H "Authorization: Bearer $BEARER" ${url}`)}`, wrap);
    expect(first).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^\S{20,}\nfine$/) as unknown });
    const script = `import os, requests; print(requests.get('${url}', headers={'authorization': 'Bearer ' + os.environ['BEARER']}).text)`;
    expect(await shell(`${PYTHON} -c "${script}"`, wrap)).toMatchObject({ exitCode: 0, stdout: 'fine\n' });
    expect(seen.map(({ headers }) => headers.authorization)).toEqual(
      Array(2).fill(`Bearer ${SECRETS.bearer}`),
    );
    await expectSwapped('bearer', entry);
  });

  it('as x-api-key, from a file', async () => {
    await shell(curl(`-H "x-api-key: $HEADER" https://${HOSTS.header}/x`), wrap);
    expect(seen[0]?.headers['x-api-key']).toBe(SECRETS.header);
    await expectSwapped('header', entry);
  });

  it('as the password of Basic, from a command: --user, in a URL and by a .netrc', async () => {
    const url = `https://${HOSTS.basic}/x`;
    await shell(curl(`-u "me:$BASIC" ${url}`), wrap);
    await shell(curl(`https://me:$BASIC@${HOSTS.basic}/x`), wrap);
    await shell(
      `printf 'machine ${HOSTS.basic} login me password %s\\n' "$BASIC" > ~/.netrc; ${curl(`-n ${url}`)}`,
      wrap,
    );
    expect(seen.map(({ headers }) => headers.authorization)).toEqual(
      Array(3).fill(basicOf('me', SECRETS.basic)),
    );
    await expectSwapped('basic', entry);
  });

  it('in a query and in a cookie', async () => {
    await shell(curl(`"https://${HOSTS.query}/x?a=1&key=$QUERY&b=2"`), wrap);
    await shell(curl(`-b "sid=$COOKIE" https://${HOSTS.cookie}/x`), wrap);
    expect(seen[0]?.url).toBe(`/x?a=1&key=${SECRETS.query}&b=2`);
    expect(seen[1]?.headers.cookie).toBe(`sid=${SECRETS.cookie}`);
    await expectSwapped('query', entry);
    await expectSwapped('cookie', entry);
  });

  it('by signing again what curl signed with the keys of a masked ~/.aws/credentials', async () => {
    const read = (name: string): string => `$(sed -n 's/^${name} = //p' ~/.aws/credentials)`;
    const keys = `id=${read('aws_access_key_id')}; key=${read('aws_secret_access_key')}; echo "$id"`;
    const url = `https://${HOSTS.aws}/items/a?b=two&z=1`;
    const sign = `--aws-sigv4 aws:amz:eu-west-1:execute-api --user "$id:$key"`;
    const got = await shell(
      `${keys}; ${curl(`${sign} -H 'content-type: application/json' -d '{"a":1}' '${url}'`)}`,
      wrap,
    );
    expect(got).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^AKIA[A-Z2-7]{16}\nfine$/) as unknown,
    });
    const [request] = seen;
    expect(request?.headers.authorization).toContain(`Credential=${SECRETS.awsId}/`);
    expect(request?.headers.authorization).toContain(`Signature=${signatureOf(request)}`);
    await expectSwapped('aws', entry);
    const wrong = await shell(
      `${keys}; ${curl(`${sign.replace('$key', 'x$key')} -w ' %{http_code}' ${url}`)}`,
      wrap,
    );
    expect(wrong.stdout).toMatch(/ 403$/);
  });
});

/** What AWS would compute (Signature Version 4) for a request as it arrived. */
function signatureOf(request: Seen | undefined): string {
  if (request === undefined) return 'nothing arrived';
  const [, scope = '', names = ''] =
    /Credential=[^/]+\/([^,]+), *SignedHeaders=([^,]+)/.exec(request.headers.authorization ?? '') ?? [];
  const sha = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
  const hmac = (key: string | Buffer, data: string): Buffer =>
    createHmac('sha256', key).update(data).digest();
  const [uri = '', query = ''] = request.url.split('?');
  const header = (name: string): string => {
    const value = name === 'host' ? request.host : request.headers[name];
    return `${name}:${String(value)}\n`;
  };
  const canonical = [
    ...[request.method, uri, query.split('&').sort().join('&'), names.split(';').map(header).join('')],
    ...[names, sha(request.body)],
  ].join('\n');
  const date = String(request.headers['x-amz-date']);
  const text = ['AWS4-HMAC-SHA256', date, scope, sha(canonical)].join('\n');
  const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${SECRETS.awsKey}`);
  return hmac(key, text).toString('hex');
}

describe('what is not the placeholder in its place', () => {
  it('is refused: none, another credential, two', async () => {
    const url = `https://${HOSTS.bearer}/x`;
    const tries = [
      ['', 'missing'],
      ['-H "Authorization: Bearer attacker-0123456789"', 'foreign'],
      ['-H "Authorization: Bearer $BEARER" -H "x-api-key: attacker-0123456789"', 'foreign'],
    ] as const;
    for (const [args, pin] of tries) {
      const got = await shell(curl(`-w ' %{http_code}' ${args} ${url}`));
      expect(got.stdout).toMatch(/^\{.*\n 403$/s);
      expect(got.stdout).not.toContain('attacker-0123456789');
      await expectRecord(box, 'network.request', { action: 'deny', host: HOSTS.bearer, pin, status: 403 });
    }
    expect(seen).toEqual([]);
    expect(JSON.stringify(box.records().filter(({ kind }) => kind.startsWith('network')))).not.toContain(
      'attacker-0',
    );
  });

  it('raises an alarm: the placeholder for another host, the real secret from inside', async () => {
    const free = `https://${FREE}/x`;
    for (const args of ['-H "Authorization: Bearer $BEARER"', '-d "$BEARER"', `-G -d "q=$BEARER"`]) {
      const got = await shell(curl(`-w ' %{http_code}' ${args} ${free}`));
      expect(got.stdout).toMatch(/ 403$/);
    }
    expect(seen).toEqual([]);
    expect(recorded(box, 'credential.alarm').length).toBe(3);
    const real = `-H "Authorization: Bearer $(printf %s ${SECRETS.bearer.split('').reverse().join('')} | rev)"`;
    for (const url of [free, `https://${HOSTS.bearer}/x`])
      expect((await shell(curl(`-w ' %{http_code}' ${real} ${url}`))).stdout).toMatch(/ 403$/);
    expect(seen).toEqual([]);
    await expectRecord(box, 'credential.alarm', { host: HOSTS.bearer });
    expect(recorded(box, 'credential.alarm').length).toBe(5);
  });
});

describe('answers', () => {
  it.each(['plain', 'base64', 'split', 'gzip', 'header'])(
    'that hold the secret (%s) come without it',
    async (how) => {
      const got = await shell(
        curl(`-i --compressed -H "Authorization: Bearer $BEARER" https://${HOSTS.bearer}/echo/${how}`),
      );
      expect(got).toMatchObject({ exitCode: 0, stderr: '' });
      expect(got.stdout).toMatch(/200/);
      if (how === 'base64') expect(got.stdout).not.toContain(Buffer.from(SECRETS.bearer).toString('base64'));
      else expect(got.stdout).toMatch(/token=\S{8,} end/);
      expect(seen[0]?.headers.authorization).toBe(`Bearer ${SECRETS.bearer}`);
    },
  );
});

describe('while it runs', () => {
  it('a secret is read again, and revoked', async () => {
    const ask = curl(`-w ' %{http_code}' -H "x-api-key: $HEADER" https://${HOSTS.header}/x`);
    await shell(ask);
    writeFileSync(keyFile, 'key-of-tomorrow-5d2e\n');
    await sandbox.network.refresh('HEADER');
    expect((await shell(ask)).stdout).toBe('fine 200');
    sandbox.network.revoke('HEADER');
    expect((await shell(ask)).stdout).toMatch(/ 403$/);
    expect(seen.map(({ headers }) => headers['x-api-key'])).toEqual([SECRETS.header, 'key-of-tomorrow-5d2e']);
    await expectRecord(box, 'credential.source', { credential: 'HEADER', state: 'refreshed' });
    await expectRecord(box, 'credential.source', { credential: 'HEADER', state: 'revoked' });
    writeFileSync(keyFile, 'key-of-a-later-day-77aa\n');
    await sandbox.network.refresh('HEADER');
    expect((await shell(ask)).stdout).toBe('fine 200');
    expect(seen.at(-1)?.headers['x-api-key']).toBe('key-of-a-later-day-77aa');
  });
});
