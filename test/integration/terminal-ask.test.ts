import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { userInfo } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestBox, type Record_ } from '../support/box.ts';
import { COOKED, Terminal } from '../support/pty.ts';
import { expectNothingLeft } from '../support/tree.ts';
import { commandText } from '../support/users.ts';

let server: Server;
let port = 0;
beforeAll(async () => {
  server = createServer((_request, response) => response.end('answer'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

function askingBox(ask: object = { timeout: '60s' }): TestBox {
  const box = new TestBox();
  box.policy(JSON.stringify({ version: 1, network: { ask } }));
  return box;
}

/** One connection through the proxy; prints `connect=STATUS` once it is settled. */
const connect = (host: string, at = port): string =>
  `curl -s -o /dev/null -p -w 'connect=%{http_connect}\\n' http://${host}:${at}/`;
const sh = (script: string): readonly string[] => ['run', '--', 'bash', '-c', script];
const asked = (box: TestBox): readonly Record_['data'][] =>
  box
    .records()
    .filter(({ kind }) => kind === 'network.asked')
    .map(({ data }) => data);

const PROMPT = 's, then deny. ';

describe('a question about an unknown host on the terminal', () => {
  it('says what would be allowed; Enter denies, also the next attempt, and the record says who', async () => {
    using box = askingBox();
    const script = `${connect('a.b.example.org', 443)}; ${connect('a.b.example.org', 443)}`;
    await using terminal = Terminal.glovebox(box, sh(script));
    await terminal.said(PROMPT);
    for (const line of [
      'host      a.b.example.org\r\n            belongs to example.org\r\n',
      'port      443\r\n  protocol  https: TLS to that name; what is sent there is not read',
      'run with `--allow a.b.example.org`, or add `- a.b.example.org` under network.allow',
    ])
      expect(terminal.output).toContain(line);
    terminal.type('\r');
    await terminal.said('glovebox: a.b.example.org:443: denied');
    await terminal.said('connect=403');
    await terminal.said('connect=403');
    expect(await terminal.ended()).toEqual({ code: 56, modes: COOKED });
    const by = expect.stringMatching(new RegExp(`^${userInfo().username} at /dev/pts/\\d+`));
    expect(asked(box)).toMatchObject([{ host: 'a.b.example.org', port: 443, answer: 'deny', by }]);
    const refused = box
      .records()
      .filter(({ kind, data }) => kind === 'network.verdict' && data['action'] === 'deny');
    expect(refused.length).toBeGreaterThan(0);
    await expectNothingLeft(box);
  });

  it('once is for what waits now, sandbox until the run ends', async () => {
    using box = askingBox();
    const one = connect('host-loopback');
    await using terminal = Terminal.glovebox(box, sh(`${one}; ${one}; ${one}`));
    await terminal.said("a service on this machine's own 127.0.0.1");
    await terminal.said(PROMPT);
    terminal.type('once\r');
    await terminal.said('connect=200');
    await terminal.said(PROMPT);
    terminal.type('Sandbox\r');
    await terminal.said('connect=200');
    await terminal.said('connect=200');
    expect((await terminal.ended()).code).toBe(0);
    expect(asked(box).map(({ answer }) => answer)).toEqual(['once', 'sandbox']);
  });

  it('nothing but one of the words answers, and what was typed is not for the command', async () => {
    using box = askingBox();
    const script = `echo up; ${connect('a.example')} & wait; read -r -t 1 line; echo "read=[$line]"`;
    await using terminal = Terminal.glovebox(box, sh(script));
    await terminal.said(PROMPT);
    terminal.type('y\r');
    await terminal.said('type one of the words');
    terminal.type('sandboxx\u007f\u0015deny\r');
    await terminal.said('a.example:' + port + ': denied');
    await terminal.said('connect=403');
    await terminal.said('read=[]');
    await terminal.ended();
  });

  it('comes one at a time; Ctrl-C denies all that waits and all that comes', async () => {
    using box = askingBox();
    const both = ['a', 'b'].map((name) => `${connect(`${name}.example`)} &`).join(' ');
    await using terminal = Terminal.glovebox(box, sh(`${both} wait; ${connect('c.example')}; echo code=$?`));
    await terminal.said(PROMPT);
    terminal.type('\u0003');
    await terminal.said('denied, and nothing more is asked');
    await terminal.said('code=56');
    expect((await terminal.ended()).code).toBe(0);
    expect(terminal.output.split('wants to reach')).toHaveLength(2);
    expect(asked(box).map(({ answer }) => answer)).toEqual(['deny', 'deny', 'deny']);
  });

  it('nobody answers: it is a denial, and nobody is named', async () => {
    using box = askingBox({ timeout: '4s' });
    await using terminal = Terminal.glovebox(box, sh(connect('a.example')));
    await terminal.said(`${PROMPT}[deny]`);
    await terminal.said('nobody answered: denied');
    await terminal.said('connect=403');
    expect((await terminal.ended()).modes).toEqual(COOKED);
    expect(asked(box)).toMatchObject([{ answer: 'timeout' }]);
    expect(asked(box)[0]).not.toHaveProperty('by');
  });

  it('goes when the command ends, and what the command wrote meanwhile is shown', async () => {
    using box = askingBox();
    const script = `(${connect('a.example')}) & sleep 2; echo last words; exit 4`;
    await using terminal = Terminal.glovebox(box, sh(script));
    await terminal.said(PROMPT);
    await terminal.said('the command has ended: denied');
    await terminal.said('last words');
    expect(await terminal.ended()).toEqual({ code: 4, modes: COOKED });
    await expectNothingLeft(box);
  });

  it('stands on the terminal also when stdout is a file, and leaves its modes alone', async () => {
    using box = askingBox();
    const run = commandText(sh(`${connect('host-loopback')}; read -r line; echo "got $line"`));
    await using terminal = new Terminal(box, ['bash', '-c', `${run} > ${box.base}/out`]);
    await terminal.said(PROMPT);
    expect(await terminal.modes()).toMatchObject({ canonical: false, echo: false });
    terminal.type('sandbox\r');
    await terminal.said('allowed until the run ends');
    await expect.poll(() => terminal.modes()).toEqual(COOKED);
    terminal.type('word\r');
    expect(await terminal.ended()).toEqual({ code: 0, modes: COOKED });
    expect(box.read('../../out')).toBe('connect=200\ngot word\n');
  });
});

describe('without a terminal nobody is asked', () => {
  it('a pipe: denied at once, with the line that allows it', async () => {
    using box = askingBox();
    const { stderr, stdout } = await box.sh(connect('a.example'));
    expect(stdout).toBe('connect=403\n');
    expect(stderr).toContain('network.ask: nobody can be asked, stdin is not a terminal');
    expect(stderr).toContain(`To allow it: run with \`--allow a.example:${port}\``);
    expect(asked(box)).toEqual([]);
  });

  it('stdout is a pipe whose reader shares the terminal', async () => {
    using box = askingBox();
    await using terminal = new Terminal(box, [
      'bash',
      '-c',
      `${commandText(sh(connect('a.example')))} | cat`,
    ]);
    await terminal.said('nobody can be asked, stdout is a pipe');
    await terminal.said('connect=403');
    await terminal.ended();
  });
});
