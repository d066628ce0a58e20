import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { FakeAgent, tick } from './fake-agent.fixture.ts';
import { CHANNEL, DONE_TAG, ENTRY_TYPE, FRAME, RECORD_TAG, WORK_TAG } from './numbers.ts';
import { pair } from './process.ts';
import { TlvRecord, TlvWriter } from './tlv.ts';
import { encodeWork } from './work.ts';

function entry(path: string, type: number = ENTRY_TYPE.file): Buffer {
  const head = Buffer.alloc(40);
  const name = Buffer.from(path);
  head.writeUInt8(type, 0);
  head.writeUInt16LE(name.length, 2);
  head.writeUInt32LE(0o644, 8);
  return Buffer.concat([head, name]);
}

/** What DONE says; 0 is success. */
function done(errno = 0, more: (record: TlvWriter) => void = () => undefined): Buffer {
  const record = new TlvWriter()
    .u32(DONE_TAG.errno, errno)
    .u64(DONE_TAG.bytes, 0)
    .u64(DONE_TAG.count, 0)
    .u32(DONE_TAG.flags, 0);
  if (errno !== 0) record.bytes(DONE_TAG.step, 'open');
  more(record);
  return record.finish();
}

async function serving(): Promise<FakeAgent> {
  const agent = new FakeAgent().hello();
  await agent.session.hello;
  return agent;
}

/** The stream of the last request of a type. */
function idOf(agent: FakeAgent, type: number): number {
  return agent.framesOf(type).at(-1)?.stream ?? -1;
}

describe('work', () => {
  it('reads a file and ends with what the agent says', async () => {
    const agent = await serving();
    const content = agent.session.files.readAll('/a', { offset: 3 });
    await tick();
    const request = new TlvRecord(agent.framesOf(FRAME.file)[0]?.payload ?? Buffer.alloc(0));
    expect(request.bytes(WORK_TAG.path)?.toString()).toBe('/a');
    expect(request.u64(WORK_TAG.offset)).toBe(3);
    const id = idOf(agent, FRAME.file);
    agent.say(FRAME.data, id, Buffer.from('hel'));
    agent.say(FRAME.data, id, Buffer.from('lo'));
    agent.say(FRAME.dataEof, id);
    agent.say(FRAME.done, id, done());
    agent.say(FRAME.closed, id);
    expect((await content).toString()).toBe('hello');
  });

  it('turns errno into errors that say which path and why', async () => {
    const agent = await serving();
    const cases = [
      [2, 'E_FILE_NOT_FOUND', 'ENOENT'],
      [13, 'E_FILE_PERMISSION', 'EACCES'],
      [30, 'E_FILE_PERMISSION', 'EROFS'],
      [17, 'E_FILE_EXISTS', 'EEXIST'],
      [28, 'E_FILE_NO_SPACE', 'ENOSPC'],
      [95, 'E_FILE_UNSUPPORTED', 'ENOTSUP'],
      [5, 'E_IO', 'EIO'],
    ] as const;
    for (const [errno, code, name] of cases) {
      const content = text(agent.session.files.read('/x\u001b[2J'));
      const id = idOf(agent, FRAME.file);
      agent.say(FRAME.done, id, done(errno));
      agent.say(FRAME.closed, id);
      const context = { operation: 'read', path: '/x\\x1b[2J', errno, name, step: 'open' };
      await expect(content).rejects.toMatchObject({ code, context });
    }
  });

  it('sends content as far as there is credit, and stops when the agent has failed', async () => {
    const agent = await serving();
    const written = agent.session.files.write('/a', Buffer.alloc(300 * 1024));
    await tick();
    const id = idOf(agent, FRAME.file);
    const bytes = (): number =>
      agent.framesOf(FRAME.data).reduce((sum, frame) => sum + frame.payload.length, 0);
    expect(bytes()).toBe(256 * 1024);
    agent.say(FRAME.credit, id, pair(CHANNEL.in, 32 * 1024));
    await tick();
    expect(bytes()).toBe(288 * 1024);
    agent.say(FRAME.done, id, done(28));
    agent.say(FRAME.closed, id);
    await expect(written).rejects.toMatchObject({ code: 'E_FILE_NO_SPACE' });
    expect(agent.framesOf(FRAME.dataEof)).toEqual([]);
  });

  it('gives up when the caller does: before, while it waits and while it runs', async () => {
    const agent = await serving();
    const early = agent.session.files.stat('/a', { signal: AbortSignal.abort() });
    await expect(early).rejects.toMatchObject({ code: 'E_ABORTED' });
    expect(agent.framesOf(FRAME.file)).toEqual([]);
    const abort = new AbortController();
    const many = Array.from({ length: 20 }, () => agent.session.files.stat('/a', { signal: abort.signal }));
    await tick();
    expect(agent.framesOf(FRAME.file)).toHaveLength(16);
    let settled = 0;
    for (const one of many) one.catch(() => (settled += 1));
    abort.abort();
    await tick();
    expect(agent.framesOf(FRAME.reset)).toHaveLength(16);
    expect(settled, 'those that were never sent').toBe(4);
    // What was called off is over when the agent says so: its own late success is no longer one.
    for (const { stream } of agent.framesOf(FRAME.file)) {
      agent.say(FRAME.done, stream, done(stream % 2 === 0 ? 4 : 0));
      agent.say(FRAME.closed, stream);
    }
    for (const one of many) await expect(one).rejects.toMatchObject({ code: 'E_ABORTED' });
    const next = agent.session.files.stat('/b');
    await tick();
    const id = idOf(agent, FRAME.file);
    agent.say(FRAME.dataEof, id);
    agent.say(
      FRAME.done,
      id,
      done(0, (record) => record.bytes(DONE_TAG.entry, entry(''))),
    );
    expect(await next).toMatchObject({ name: 'b', path: '/b', type: 'file', mode: 0o644 });
  });

  it('does not wait for ever for what was called off, and an end of the sandbox is one of it too', async () => {
    const agent = await serving();
    const held = agent.session.files.stat('/held', { signal: AbortSignal.timeout(1) });
    await expect(held).rejects.toMatchObject({ code: 'E_ABORTED' });
    const abort = new AbortController();
    const lost = agent.session.files.stat('/lost', { signal: abort.signal });
    await tick();
    abort.abort();
    agent.session.destroy();
    await expect(lost).rejects.toMatchObject({ code: 'E_ABORTED' });
  });

  it('resets a read whose reader goes away', async () => {
    const agent = await serving();
    agent.session.files.read('/a').destroy();
    await tick();
    expect(agent.framesOf(FRAME.reset)).toHaveLength(1);
  });

  it('sorts a listing by bytes and names what the agent names', async () => {
    const agent = await serving();
    const listing = agent.session.files.list('/d');
    await tick();
    const id = idOf(agent, FRAME.file);
    const records = new TlvWriter();
    for (const name of ['b', 'a/x', 'B', 'a']) records.bytes(RECORD_TAG.entry, entry(name));
    const bytes = records.finish();
    agent.say(FRAME.data, id, bytes.subarray(0, 10));
    agent.say(FRAME.data, id, bytes.subarray(10));
    agent.say(FRAME.dataEof, id);
    agent.say(FRAME.done, id, done());
    expect((await listing).entries.map((one) => one.path)).toEqual(['/d/B', '/d/a', '/d/a/x', '/d/b']);
  });

  it('refuses paths and numbers that the agent would take for a violation', () => {
    const name = expect.objectContaining({ code: 'E_FILE_NAME' });
    for (const path of ['', 'relative', '/a\0b', `/${'x'.repeat(4095)}`])
      expect(() => encodeWork({ op: 'stat', path })).toThrow(name);
    for (const mode of [-1, 0o10000, 1.5, Number.NaN])
      expect(() => encodeWork({ op: 'stat', path: '/a', mode })).toThrow(/is not a mode/);
    expect(encodeWork({ op: 'symlink', path: '/a', target: 'relative' }).length).toBeGreaterThan(0);
  });
});

describe('work of a hostile agent', () => {
  const violations: readonly (readonly [string, (agent: FakeAgent, id: number) => void])[] = [
    [
      'data after its end',
      (agent, id) =>
        [FRAME.dataEof, FRAME.data].forEach((type) =>
          agent.say(type, id, type === FRAME.data ? Buffer.from('x') : undefined),
        ),
    ],
    [
      'two ends of data',
      (agent, id) => [FRAME.dataEof, FRAME.dataEof].forEach((type) => agent.say(type, id)),
    ],
    ['success before the end of data', (agent, id) => agent.say(FRAME.done, id, done())],
    ['two results', (agent, id) => [1, 2].forEach(() => agent.say(FRAME.done, id, done(2)))],
    ['a close before the result', (agent, id) => agent.say(FRAME.closed, id)],
    ['output of a command', (agent, id) => agent.say(FRAME.stdout, id, Buffer.from('x'))],
    ['credit that was not spent', (agent, id) => agent.say(FRAME.credit, id, pair(CHANNEL.in, 1))],
    [
      'data beyond the window',
      (agent, id) => Array.from({ length: 5 }).forEach(() => agent.say(FRAME.data, id, Buffer.alloc(65_536))),
    ],
  ];
  for (const [name, act] of violations) {
    it(`ends the session at ${name}`, async () => {
      const agent = await serving();
      agent.session.files.read('/a').on('error', () => undefined);
      act(agent, idOf(agent, FRAME.file));
      expect(await agent.session.closed).toMatchObject({ code: 'E_PROTOCOL' });
    });
  }

  it('is not believed: names that lead out, more than was asked for, a listing that is cut off', async () => {
    const bad = [
      new TlvWriter().bytes(RECORD_TAG.entry, entry('../x')).finish(),
      new TlvWriter().bytes(RECORD_TAG.entry, entry('/x')).finish(),
      new TlvWriter().bytes(RECORD_TAG.entry, entry('')).finish(),
      new TlvWriter().bytes(RECORD_TAG.entry, entry('a\0')).finish(),
      new TlvWriter().bytes(RECORD_TAG.entry, entry('a', 9)).finish(),
      new TlvWriter().bytes(RECORD_TAG.process, entry('a')).finish(),
      new TlvWriter().bytes(RECORD_TAG.entry, entry('a')).finish().subarray(0, 20),
      Buffer.concat([1, 2, 3].map((i) => new TlvWriter().bytes(RECORD_TAG.entry, entry(`n${i}`)).finish())),
      Buffer.from([1, 0, 0xff, 0xff, 0xff, 0xff]),
    ];
    for (const bytes of bad) {
      const agent = await serving();
      const listing = agent.session.files.list('/d', { maxEntries: 2 });
      await tick();
      const id = idOf(agent, FRAME.file);
      agent.say(FRAME.data, id, bytes);
      agent.say(FRAME.dataEof, id);
      agent.say(FRAME.done, id, done());
      await expect(listing, bytes.toString('hex')).rejects.toMatchObject({ code: 'E_PROTOCOL' });
    }
  });
});
