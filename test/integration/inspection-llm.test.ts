import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CommandResult, Sandbox } from '../../src/index.ts';
import { TestBox } from '../support/box.ts';
import {
  bodyOf,
  expectRecord,
  inside,
  inspected,
  missing,
  nodeProgram,
  Outside,
  recorded,
  tlsOrigin,
  WAYS,
  type Handler,
  type LocalServer,
} from '../support/inspection.ts';

const STRICT = 'llm.example.test';
const WATCHED = 'watched.example.test';
const KEY = 'sk-ant-api03-REAL-4f1b8c2e9d7a4e05b3c6';

const arrived: { readonly path: string; readonly key: unknown; readonly body: string }[] = [];

/** A scripted model: streams two words, the second when asked to go on. */
const model: Handler = (request, response) => {
  void (async (): Promise<void> => {
    const body = await bodyOf(request as AsyncIterable<Buffer>);
    arrived.push({ path: request.url, key: request.headers['x-api-key'], body: body.toString() });
    if (!body.includes('"stream":true')) return void response.end(JSON.stringify({ content: 'hello' }));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const word of ['hel', 'lo']) response.write(`event: delta\ndata: {"text":"${word}"}\n\n`);
    response.end('event: stop\ndata: {}\n\n');
  })();
};

describe.skipIf(missing('curl') !== '')(
  `an LLM host with preset llm-api and a pinned key${missing('curl')}`,
  () => {
    let outside: Outside;
    let server: LocalServer;
    let box: TestBox;
    let sandbox: Sandbox;

    beforeAll(async () => {
      outside = new Outside([STRICT, WATCHED]);
      server = await tlsOrigin(outside, model);
      box = new TestBox();
      const rule = { preset: 'llm-api', credential: 'llm', http2: true };
      sandbox = await inspected(box, {
        rules: [
          { ...rule, id: 'llm', host: STRICT },
          { ...rule, id: 'watched', host: WATCHED, mode: 'observe' },
        ],
        sites: { [STRICT]: server.port, [WATCHED]: server.port },
        outside,
        credentials: { llm: { from: 'env:LLM_KEY', header: 'x-api-key', prefix: 'sk-ant-api03-' } },
        hostEnv: { LLM_KEY: KEY },
      });
    });

    afterAll(async () => {
      await sandbox?.kill();
      await server?.[Symbol.asyncDispose]();
      expect(JSON.stringify(box?.records())).not.toContain(KEY);
      box?.[Symbol.dispose]();
      outside?.[Symbol.dispose]();
    });

    beforeEach(() => {
      arrived.length = 0;
    });

    interface Ask {
      readonly host?: string;
      readonly path?: string;
      readonly key?: string;
      readonly body?: object;
      readonly header?: string;
    }

    async function ask(request: Ask): Promise<CommandResult> {
      const { host = STRICT, path = '/v1/messages', key = '$LLM_KEY', header = 'x-none: 1' } = request;
      const data = JSON.stringify(
        request.body ?? { model: 'm', messages: [{ role: 'user', content: 'hi' }] },
      );
      const headers = `-H "x-api-key: ${key}" -H 'content-type: application/json' -H '${header}'`;
      const line = `curl -sS -w ' %{http_code}' ${headers} --data-binary '${data}' https://${host}${path}`;
      const got = await inside(sandbox, ['bash', '-c', line]);
      expect(got.stdout + got.stderr).not.toContain(KEY);
      return got;
    }

    it.each(WAYS)('messages pass with the real key, whole and streamed, $way', async (way) => {
      const script = `import https from 'node:https';
const body = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'hi' }] });
const headers = { 'x-api-key': process.env.LLM_KEY, 'content-type': 'application/json', 'content-length': body.length };
https.request('https://${STRICT}/v1/messages', { method: 'POST', headers, agent: agent() }, (answer) => answer.pipe(process.stdout)).end(body);`;
      const got = await inside(sandbox, nodeProgram(way, script));
      expect(got).toMatchObject({ exitCode: 0, stderr: '' });
      expect(got.stdout.match(/"text":"\w+"/g)).toEqual(['"text":"hel"', '"text":"lo"']);
      expect((await ask({})).stdout).toBe('{"content":"hello"} 200');
      expect(arrived.map(({ path, key }) => [path, key])).toEqual([1, 2].map(() => ['/v1/messages', KEY]));
      const data = {
        action: 'allow',
        rule: 'llm',
        entry: way.entry,
        credential: 'llm',
        pin: 'ok',
        status: 200,
      };
      await expectRecord(box, 'network.request', { ...data, host: STRICT, path: '/v1/messages' });
      const inner = await inside(sandbox, ['printenv', 'LLM_KEY']);
      expect(inner.stdout).toMatch(/^sk-ant-api03-\S+\n$/);
      expect(inner.stdout).not.toContain(KEY);
    });

    const tools = (type: string): object => ({ model: 'm', messages: [], tools: [{ type, name: 'x' }] });

    it.each([
      ['files', { path: '/v1/files' }, { path: '/v1/files' }],
      ['batches', { path: '/v1/messages/batches' }, { path: '/v1/messages/batches' }],
      ['another path', { path: '/v2/messages' }, { path: '/v2/messages' }],
      ['the web_fetch tool', { body: tools('web_fetch_20250910') }, { path: '/v1/messages' }],
      ['the code_execution tool', { body: tools('code_execution_20250522') }, { path: '/v1/messages' }],
      ['an MCP server', { body: { messages: [], mcp_servers: [{ url: 'https://evil.test' }] } }, {}],
      ['an image by URL', { body: { messages: [{ content: [{ source: { type: 'url', url: 'x' } }] }] } }, {}],
      ['a beta header', { header: 'anthropic-beta: files-api-2025-04-14' }, {}],
    ])('%s is refused, and the origin hears nothing', async (_name, request, record) => {
      const got = await ask(request);
      expect(got.stdout).toMatch(/^\{.*"rule":"llm\.[^"]*".*\}\n 403$/);
      expect(arrived).toEqual([]);
      await expectRecord(box, 'network.request', { action: 'deny', host: STRICT, status: 403, ...record });
    });

    it('an ordinary tool passes', async () => {
      expect(
        (await ask({ body: { messages: [], tools: [{ name: 'search', input_schema: {} }] } })).stdout,
      ).toMatch(/ 200$/);
      expect(arrived.length).toBe(1);
    });

    it.each([
      ['the enforcing rule', STRICT],
      ['the observing rule', WATCHED],
    ])("somebody else's key is refused with an alarm by %s", async (_name, host) => {
      const foreign = 'sk-ant-api03-ATTACKER-0000000000000000';
      const got = await ask({ host, key: foreign });
      expect(got.stdout).toMatch(/"rule":"structural.pin.foreign".*403$/s);
      expect(got.stdout).not.toContain(foreign);
      expect(arrived).toEqual([]);
      const fields = { action: 'deny', host, pin: 'foreign', status: 403, alarm: true };
      await expectRecord(box, 'network.request', {
        ...fields,
        foreign: expect.stringMatching(/^[0-9a-f]+$/) as unknown,
      });
      await expectRecord(box, 'credential.alarm', { host });
      expect(JSON.stringify(box.records().filter(({ kind }) => kind !== 'run.command'))).not.toContain(
        foreign,
      );
    });

    it('observe lets it pass and records what would be refused', async () => {
      expect((await ask({ host: WATCHED, path: '/v1/files' })).stdout).toMatch(/ 200$/);
      expect((await ask({ host: WATCHED, body: tools('web_fetch_20250910') })).stdout).toMatch(/ 200$/);
      expect(arrived.map(({ path, key }) => [path, key])).toEqual([
        ['/v1/files', KEY],
        ['/v1/messages', KEY],
      ]);
      const would = { action: 'allow', host: WATCHED, status: 200 };
      const named: unknown = expect.stringContaining('watched');
      await expectRecord(box, 'network.request', { ...would, path: '/v1/files', wouldDeny: named });
      await expectRecord(box, 'network.request', { ...would, path: '/v1/messages', wouldDeny: named });
      const strict = recorded(box, 'network.request').filter((data) => data['host'] === STRICT);
      expect(strict.every((data) => data['wouldDeny'] === undefined)).toBe(true);
    });
  },
);
