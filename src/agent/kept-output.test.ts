import { describe, expect, it } from 'vitest';
import { FakeAgent, tick } from './fake-agent.fixture.ts';
import { KeptOutput, type KeepOptions, type OutputCursor } from './kept-output.ts';
import { FRAME } from './numbers.ts';
import { pair } from './process.ts';

class Kept {
  readonly agent = new FakeAgent().hello();
  readonly id: number;
  readonly output: KeptOutput;

  constructor(options?: KeepOptions) {
    const process = this.agent.session.exec({ argv: ['x'], env: {}, cwd: '/' });
    this.id = process.id;
    this.agent.started(process.id);
    this.output = new KeptOutput(process, options);
  }

  static async open(options?: KeepOptions): Promise<Kept> {
    const kept = new Kept(options);
    await kept.agent.session.hello;
    return kept;
  }

  async says(text: string, type: number = FRAME.stdout): Promise<void> {
    this.agent.say(type, this.id, Buffer.from(text));
    for (let i = 0; i < 4; i++) await tick();
  }

  async ends(): Promise<void> {
    this.agent.exited(this.id);
    for (const channel of [1, 2]) this.agent.say(FRAME.outEof, this.id, pair(channel, 0).subarray(0, 4));
    this.agent.say(FRAME.closed, this.id);
    await tick();
  }

  async text(from?: Partial<OutputCursor>): Promise<string> {
    let all = '';
    for await (const { channel, data } of this.output.read(from))
      all += channel === 'stdout' ? data.toString() : `[${data.toString()}]`;
    return all;
  }
}

describe('kept output', () => {
  it('is read from any place, by any number of readers, also after the end', async () => {
    const kept = await Kept.open();
    const first = kept.text();
    await kept.says('hello ');
    await kept.says('oops', FRAME.stderr);
    await kept.says('world');
    await kept.ends();
    expect(await first).toBe('hello [oops]world');
    expect(await kept.text({ stdout: 6, stderr: 4 })).toBe('world');
    expect(kept.output.end).toEqual({ stdout: 11, stderr: 4 });
  });

  it('goes on at a cursor without losing or repeating a byte', async () => {
    const kept = await Kept.open();
    await kept.says('one two');
    let cursor = 0;
    for await (const { offset, data } of kept.output.read()) {
      expect(offset).toBe(0);
      cursor = offset + data.length;
      break;
    }
    await kept.says(' three');
    await kept.ends();
    expect(await kept.text({ stdout: cursor })).toBe(' three');
  });

  it('says what is gone when it drops the oldest', async () => {
    const kept = await Kept.open({ bytes: 10, overflow: 'drop-oldest' });
    for (let i = 0; i < 5; i++) await kept.says(`line${i}`);
    await kept.ends();
    expect(kept.output.start).toEqual({ stdout: 15, stderr: 0 });
    await expect(kept.text()).rejects.toMatchObject({
      code: 'E_OUTPUT_GONE',
      context: { channel: 'stdout', cursor: 0, firstAvailable: 15, end: 25 },
    });
    expect(await kept.text({ stdout: 15 })).toBe('line3line4');
    await expect(kept.text({ stdout: 26 })).rejects.toMatchObject({ code: 'E_USAGE' });
  });

  it('takes no more than it keeps while nobody reads, so that the command waits', async () => {
    const kept = await Kept.open({ bytes: 1000 });
    for (let i = 0; i < 4; i++) await kept.says('x'.repeat(64 * 1024));
    const credit = (): number =>
      kept.agent.framesOf(FRAME.credit).reduce((sum, frame) => sum + frame.payload.readUInt32LE(4), 0);
    expect(credit()).toBeLessThan(256 * 1024);
    expect(kept.output.start.stdout).toBe(0);
    const all = kept.text();
    for (let i = 0; i < 10; i++) await tick();
    expect(credit()).toBeGreaterThanOrEqual(192 * 1024);
    await kept.says('y'.repeat(1000));
    await kept.ends();
    expect(await all).toBe('x'.repeat(256 * 1024) + 'y'.repeat(1000));
    expect(kept.output.start.stdout).toBeGreaterThan(0);
  });

  it('keeps single bytes without an object for each', async () => {
    const kept = await Kept.open({ bytes: 100_000, overflow: 'drop-oldest' });
    for (let i = 0; i < 3000; i++) kept.agent.say(FRAME.stdout, kept.id, Buffer.from(String(i % 10)));
    await kept.says('.');
    await kept.ends();
    let pieces = 0;
    for await (const chunk of kept.output.read()) pieces += chunk.data.length > 0 ? 1 : 0;
    expect(pieces).toBe(1);
  });

  it('ends with the sandbox, and when the reader is aborted', async () => {
    const kept = await Kept.open();
    const aborted = new AbortController();
    const reading = kept.output.read({}, { signal: aborted.signal }).next();
    await tick();
    aborted.abort();
    await expect(reading).rejects.toMatchObject({ code: 'E_ABORTED' });
    await kept.says('left');
    kept.agent.end();
    await kept.agent.session.closed;
    const seen: string[] = [];
    const all = async (): Promise<void> => {
      for await (const { data } of kept.output.read()) seen.push(data.toString());
    };
    await expect(all()).rejects.toMatchObject({ code: 'E_SANDBOX_LOST' });
    expect(seen).toEqual(['left']);
  });
});
