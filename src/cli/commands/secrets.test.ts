import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CliIo } from '../contract.ts';
import { secretsCommand } from './secrets.ts';

describe('glovebox secrets', () => {
  let home: string;

  beforeEach(() => {
    home = mkdtempSync(path.join(tmpdir(), 'gb-secrets-'));
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  async function run(
    args: readonly string[],
    input = '',
    json = false,
  ): Promise<{ code: number; out: string; err: string }> {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const stdin = Object.assign(Readable.from(input === '' ? [] : [Buffer.from(input)]), { isTTY: false });
    const env = { HOME: home, XDG_CONFIG_HOME: `${home}/c`, XDG_STATE_HOME: `${home}/s` };
    const io = { stdout, stderr, stdin, env, cwd: home, json } as unknown as CliIo;
    const code = await secretsCommand.run(args, io);
    return { code, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
  }

  it('stores what comes on standard input, without its newline, and lists names only', async () => {
    await run(['set', 'api'], 'sk-test-value-000001\n');
    const { out } = await run(['list'], '', true);
    expect(JSON.parse(out)).toMatchObject({ secrets: [{ name: 'api' }] });
    expect(out).not.toContain('sk-test');
    for (const file of readdirSync(home, { recursive: true, encoding: 'utf8' }))
      if (file.endsWith('.store'))
        expect(readFileSync(path.join(home, file)).includes('sk-test')).toBe(false);
  });

  it('removes, and names the nearest when there is none', async () => {
    await run(['set', 'anthropic'], 'sk-test-value-000001');
    await expect(run(['remove', 'antropic'])).rejects.toMatchObject({ next: 'Did you mean anthropic?' });
    await run(['remove', 'anthropic']);
    expect((await run(['list'])).out).toBe('');
  });

  it.each([
    [[], 'secrets needs one of set, list, remove'],
    [['lst'], 'there is no secrets command "lst"'],
    [['set'], 'secrets set needs a name'],
    [['set', 'a', 'value'], 'secrets set takes one name; a value is read from standard input'],
    [['set', 'a b'], 'this cannot be the name of a stored secret'],
  ])('%j is refused', async (args, what) => {
    await expect(run(args, 'sk-test-value-000001')).rejects.toMatchObject({ what });
  });

  it('refuses a value that cannot be a credential', async () => {
    await expect(run(['set', 'short'], 'abc')).rejects.toMatchObject({ code: 'E_CREDENTIAL_INVALID' });
    await expect(run(['set', 'lines'], 'one-line\r\ntwo-lines')).rejects.toMatchObject({
      code: 'E_CREDENTIAL_INVALID',
    });
  });
});
