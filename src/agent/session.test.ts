import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeAgent, tick } from './fake-agent.fixture.ts';
import { CHANNEL, ERROR_TAG, FRAME, READY_TAG, RESET_TAG } from './numbers.ts';
import { pair } from './process.ts';
import { TlvWriter } from './tlv.ts';

const command = { argv: ['x'], env: {}, cwd: '/' };

describe('a session', () => {
  it('reads READY and HELLO', async () => {
    const agent = new FakeAgent({ airlock: true });
    const ready = new TlvWriter()
      .u8(READY_TAG.ipv6, 1)
      .bytes(READY_TAG.placeholders, Uint8Array.of(0, 1, 4))
      .finish();
    agent.say(FRAME.airlockReady, 0, ready);
    agent.hello();
    expect(await agent.session.ready).toEqual({
      ipv6: true,
      placeholders: new Map([
        [1, 'created'],
        [2, 'real'],
      ]),
    });
    expect(await agent.session.hello).toMatchObject({
      landlockAbi: 7,
      landlock: true,
      seccomp: true,
      keyring: false,
    });
    agent.end();
    expect(await agent.session.closed).toBeUndefined();
  });

  it('turns ERROR into the error that it stands for', async () => {
    const agent = new FakeAgent();
    const record = new TlvWriter()
      .u32(ERROR_TAG.code, 2)
      .bytes(ERROR_TAG.stage, 'verify')
      .bytes(ERROR_TAG.op, 'verify');
    agent.say(FRAME.error, 0, record.u32(ERROR_TAG.errno, 2).bytes(ERROR_TAG.path, '/ws/.env').finish());
    await expect(agent.session.hello).rejects.toMatchObject({
      code: 'E_MASK_LOST',
      why: 'verify: /ws/.env: ENOENT',
    });
    expect(await agent.session.closed).toMatchObject({ code: 'E_MASK_LOST' });
  });

  it('does not start when the channel closes before HELLO', async () => {
    const agent = new FakeAgent();
    agent.end();
    await expect(agent.session.hello).rejects.toMatchObject({ code: 'E_SANDBOX_START' });
  });

  it('waits for the reason of an end, however often the channel tells that it ended', async () => {
    const asked: (() => void)[] = [];
    const reason = new Error('the kernel was killed');
    const explain = (): Promise<Error> => new Promise((resolve) => asked.push(() => resolve(reason)));
    const agent = new FakeAgent({ explain }).hello();
    await agent.session.hello;
    const running = agent.session.exec(command);
    agent.end();
    await tick();
    agent.cut();
    await tick();
    expect(asked.length).toBe(1);
    asked[0]?.();
    await expect(running.exit).rejects.toMatchObject({ why: 'the kernel was killed' });
    expect(await agent.session.closed).toMatchObject({ why: 'the kernel was killed' });
  });

  it('sends no more input than the agent has room for', async () => {
    const agent = new FakeAgent().hello();
    await agent.session.hello;
    const process = agent.session.exec(command);
    process.stdin.write(Buffer.alloc(300 * 1024));
    await tick();
    const bytes = (): number =>
      agent.framesOf(FRAME.stdin).reduce((sum, frame) => sum + frame.payload.length, 0);
    expect(bytes()).toBe(256 * 1024);
    agent.say(FRAME.credit, process.id, pair(CHANNEL.in, 40 * 1024));
    await tick();
    expect(bytes()).toBe(296 * 1024);
    agent.say(FRAME.credit, process.id, pair(CHANNEL.in, 40 * 1024));
    process.stdin.end();
    await tick();
    await tick();
    expect(bytes()).toBe(300 * 1024);
    expect(agent.framesOf(FRAME.stdinEof).length).toBe(1);
  });

  it('credits what is read, and nothing while nobody reads', async () => {
    const agent = new FakeAgent().hello();
    await agent.session.hello;
    const process = agent.session.exec(command);
    agent.started(process.id);
    for (let i = 0; i < 4; i++) agent.say(FRAME.stdout, process.id, Buffer.alloc(64 * 1024));
    await tick();
    expect(agent.framesOf(FRAME.credit)).toEqual([]);
    expect(process.stdout.read()).toHaveLength(256 * 1024);
    await tick();
    const credit = agent
      .framesOf(FRAME.credit)
      .reduce((sum, frame) => sum + frame.payload.readUInt32LE(4), 0);
    expect(credit).toBe(256 * 1024);
  });

  it('credits output that is thrown away', async () => {
    const agent = new FakeAgent().hello();
    await agent.session.hello;
    const process = agent.session.exec(command);
    agent.started(process.id);
    agent.say(FRAME.stdout, process.id, Buffer.alloc(64 * 1024));
    await tick();
    process.stdout.destroy();
    agent.say(FRAME.stdout, process.id, Buffer.alloc(64 * 1024));
    await tick();
    expect(agent.framesOf(FRAME.credit).length).toBeGreaterThanOrEqual(1);
    expect(await Promise.race([agent.session.closed, Promise.resolve('open')])).toBe('open');
  });

  it('refuses what would end the sandbox', async () => {
    const agent = new FakeAgent().hello();
    await agent.session.hello;
    const usage = expect.objectContaining({ code: 'E_USAGE' });
    expect(() => agent.session.exec({ ...command, stdio: ['inherit', 'null', 'null'] })).toThrow(usage);
    expect(() => agent.session.exec({ ...command, argv: [] })).toThrow(usage);
    expect(() => agent.session.exec({ ...command, cwd: 'here' })).toThrow(/absolute/);
    expect(() => agent.session.signalAll(0)).toThrow(usage);
    await expect(agent.session.dial(0)).rejects.toMatchObject({ code: 'E_USAGE' });
    expect(agent.sent).toEqual([]);
  });

  it('answers a ping, in order', async () => {
    const agent = new FakeAgent().hello();
    await agent.session.hello;
    const pong = agent.session.ping();
    agent.say(FRAME.pong, 0);
    await pong;
  });

  it('rejects what was running when the sandbox is lost', async () => {
    const agent = new FakeAgent().hello();
    await agent.session.hello;
    const process = agent.session.exec(command);
    const connection = agent.session.dial(80);
    const pong = agent.session.ping();
    agent.end();
    await expect(process.exit).rejects.toMatchObject({ code: 'E_SANDBOX_LOST' });
    await expect(connection).rejects.toMatchObject({ code: 'E_SANDBOX_LOST' });
    await expect(pong).rejects.toMatchObject({ code: 'E_SANDBOX_LOST' });
    expect(() => agent.session.exec(command)).toThrow(expect.objectContaining({ code: 'E_SANDBOX_CLOSED' }));
  });

  it('rejects a connection that is refused, and ends one that closes', async () => {
    const agent = new FakeAgent().hello();
    await agent.session.hello;
    const refused = agent.session.dial(80);
    agent.say(FRAME.reset, 2, new TlvWriter().u32(RESET_TAG.errno, 111).finish());
    agent.say(FRAME.closed, 2);
    await expect(refused).rejects.toMatchObject({ code: 'E_IO', context: { port: 80, errno: 111 } });
    const opened = agent.session.dial(81);
    agent.say(FRAME.dialOk, 3);
    const connection = await opened;
    agent.say(FRAME.data, 3, Buffer.from('hi'));
    agent.say(FRAME.dataEof, 3);
    const chunks: Buffer[] = [];
    for await (const chunk of connection) chunks.push(Buffer.from(chunk));
    expect(Buffer.concat(chunks).toString()).toBe('hi');
  });
});

describe('a session with a hostile agent', () => {
  const violations: readonly (readonly [string, (agent: FakeAgent, id: number) => void])[] = [
    ['a second HELLO', (agent) => agent.hello()],
    ['a frame for a stream that is not open', (agent) => agent.started(99)],
    ['an unknown frame', (agent, id) => agent.say(0x7777, id)],
    ['a host frame sent back', (agent, id) => agent.say(FRAME.exec, id)],
    [
      'output beyond the window',
      (agent, id) => {
        for (let i = 0; i < 5; i++) agent.say(FRAME.stdout, id, Buffer.alloc(65_536));
      },
    ],
    ['empty output', (agent, id) => agent.say(FRAME.stdout, id)],
    [
      'output after its end',
      (agent, id) => {
        agent.say(FRAME.outEof, id, Uint8Array.of(1, 0, 0, 0));
        agent.say(FRAME.stdout, id, Buffer.from('x'));
      },
    ],
    ['credit that was not spent', (agent, id) => agent.say(FRAME.credit, id, pair(CHANNEL.in, 1))],
    ['credit of nothing', (agent, id) => agent.say(FRAME.credit, id, pair(CHANNEL.in, 0))],
    ['two starts', (agent, id) => agent.started(id)],
    [
      'two ends',
      (agent, id) => {
        agent.exited(id);
        agent.exited(id);
      },
    ],
    ['a close before the end', (agent, id) => agent.say(FRAME.closed, id)],
    ['an impossible status', (agent, id) => agent.exited(id, 256)],
    ['a pong that nobody asked for', (agent) => agent.say(FRAME.pong, 0)],
    ['a connection frame on a command', (agent, id) => agent.say(FRAME.dialOk, id)],
    ['a giant frame', (agent) => agent.bytes(Buffer.alloc(12, 0xff))],
  ];

  for (const [name, act] of violations) {
    it(`ends at ${name}`, async () => {
      const agent = new FakeAgent().hello();
      await agent.session.hello;
      const process = agent.session.exec(command);
      process.stdout.resume().pause();
      agent.started(process.id);
      act(agent, process.id);
      expect(await agent.session.closed).toMatchObject({ code: 'E_PROTOCOL' });
    });
  }

  it('survives any bytes with an answer: still open, or closed with a reason', async () => {
    const frame = fc.tuple(
      fc.constantFrom(...Object.values(FRAME)),
      fc.integer({ min: 0, max: 6 }),
      fc.uint8Array({ maxLength: 40 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 30 }), async (frames) => {
        const agent = new FakeAgent().hello();
        await agent.session.hello;
        const process = agent.session.exec(command);
        process.stdout.resume();
        agent.session.dial(1).catch(() => undefined);
        agent.session.files.readAll('/x').catch(() => undefined);
        agent.session.processes().catch(() => undefined);
        await tick();
        for (const [type, stream, payload] of frames) agent.say(type, stream, payload);
        agent.end();
        const reason = await agent.session.closed;
        if (reason !== undefined)
          expect(reason).toHaveProperty(
            'code',
            expect.stringMatching(/^E_(PROTOCOL|SANDBOX_LOST|MASK_LOST)$/),
          );
      }),
      { numRuns: 300 },
    );
  });
});
