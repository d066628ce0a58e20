import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CredentialSource } from '../policy/contract.ts';
import type { SourceContext } from './contract.ts';
import { readSource } from './sources.ts';
import { readCommandSource } from './sources/command.ts';

describe('sources', () => {
  let dir: string;
  const warnings: string[] = [];
  const context = (env: Record<string, string> = {}): SourceContext => ({
    env: { PATH: process.env['PATH'], ...env },
    configDir: path.join(dir, 'config'),
    stateDir: path.join(dir, 'state'),
    untrusted: [path.join(dir, 'workspace')],
    warn: (message) => warnings.push(message),
  });
  const read = async (source: CredentialSource, env?: Record<string, string>): Promise<string> =>
    (await readSource(source, context(env))).toString();
  const command = (...argv: string[]): CredentialSource => ({ kind: 'command', argv });
  const file = (name: string): CredentialSource => ({ kind: 'file', path: path.join(dir, name) });

  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'gbx-sources-'));
    mkdirSync(path.join(dir, 'workspace'));
    writeFileSync(path.join(dir, 'good'), 'file-secret\n', { mode: 0o600 });
    writeFileSync(path.join(dir, 'open'), 'file-secret', { mode: 0o644 });
    writeFileSync(path.join(dir, 'two'), 'line-one\nline-two\n', { mode: 0o600 });
    writeFileSync(path.join(dir, 'large'), 'x'.repeat(20_000), { mode: 0o600 });
    writeFileSync(path.join(dir, 'workspace/tool'), '#!/bin/sh\necho planted-secret\n');
    chmodSync(path.join(dir, 'workspace/tool'), 0o755);
    symlinkSync(path.join(dir, 'workspace'), path.join(dir, 'alias'));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it('read a variable, a file, a systemd credential and a command', async () => {
    expect(await read({ kind: 'env', name: 'TOKEN' }, { TOKEN: 'env-secret' })).toBe('env-secret');
    expect(await read(file('good'))).toBe('file-secret');
    expect(await read({ kind: 'systemd', name: 'good' }, { CREDENTIALS_DIRECTORY: dir })).toBe('file-secret');
    expect(await read(command('sh', '-c', 'echo command-secret; echo noise >&2'))).toBe('command-secret');
  });

  it('warn of a file that others may read', async () => {
    await read(file('open'));
    expect(warnings).toEqual([expect.stringContaining('chmod 600')]);
  });

  it('give commands no standard input, no store passphrase, and no directory of the sandbox to be found in', async () => {
    expect(await read(command('sh', '-c', 'cat; echo read-nothing'))).toBe('read-nothing');
    const print = command('sh', '-c', 'echo "[$GLOVEBOX_STORE_PASSPHRASE] $PATH $PWD"');
    const workspace = path.join(dir, 'workspace');
    const PATH = `${workspace}:${path.join(dir, 'alias')}:.:/usr/bin:/bin`;
    expect(await read(print, { GLOVEBOX_STORE_PASSPHRASE: 'pass', PATH })).toBe('[] /usr/bin:/bin /');
    await expect(read(command('tool'), { PATH })).rejects.toMatchObject({ code: 'E_CREDENTIAL_SOURCE' });
    for (const program of [path.join(workspace, 'tool'), path.join(dir, 'alias/tool'), './tool'])
      await expect(read(command(program))).rejects.toMatchObject({ code: 'E_CREDENTIAL_SOURCE' });
  });

  it.each<readonly [string, CredentialSource, string]>([
    ['an unset variable', { kind: 'env', name: 'UNSET' }, 'E_CREDENTIAL_SOURCE'],
    ['a short value', { kind: 'env', name: 'SHORT' }, 'E_CREDENTIAL_INVALID'],
    ['a systemd name with a slash', { kind: 'systemd', name: '../x' }, 'E_CREDENTIAL_SOURCE'],
    ['a command that is not there', command('no-such-program-here'), 'E_CREDENTIAL_SOURCE'],
    ['a command that fails', command('sh', '-c', 'echo secret-output; exit 3'), 'E_CREDENTIAL_SOURCE'],
    ['too much output', command('sh', '-c', 'head -c 100000 /dev/zero'), 'E_CREDENTIAL_SOURCE'],
    ['NUL in the output', command('sh', '-c', 'printf "abcd\\0efghij"'), 'E_CREDENTIAL_INVALID'],
    ['an empty store', { kind: 'store', name: 'none' }, 'E_CREDENTIAL_SOURCE'],
    ['another kind', { kind: 'vault' } as never, 'E_CREDENTIAL_SOURCE'],
  ])('refuse %s without a word of what it gave', async (_, source, code) => {
    const error: unknown = await read(source, { SHORT: 'tiny', CREDENTIALS_DIRECTORY: dir }).catch(
      (e: unknown) => e,
    );
    expect(error).toMatchObject({ code });
    expect(JSON.stringify(error)).not.toMatch(/secret-output|tiny/);
  });

  it.each(['missing', 'two', 'large', 'workspace'])('refuse the file %s', async (name) => {
    const error: unknown = await read(file(name)).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: expect.stringMatching(/^E_CREDENTIAL_(SOURCE|INVALID)$/) });
    expect(JSON.stringify(error)).not.toMatch(/line-one|xxxx/);
  });

  it('refuse a file that a sandbox may have put there', async () => {
    writeFileSync(path.join(dir, 'workspace/key'), 'planted-secret');
    for (const name of ['workspace/key', 'alias/key'])
      await expect(read(file(name))).rejects.toThrow('a sandbox may write there');
  });

  it('end a command that takes too long, with what it started', async () => {
    const mark = path.join(dir, 'survivor');
    const argv = ['sh', '-c', `(sleep 0.6; touch ${mark}) & wait`];
    await expect(readCommandSource(argv, context(), 100)).rejects.toThrow('longer than 0.1 s');
    await new Promise((resolve) => setTimeout(resolve, 900));
    expect(existsSync(mark)).toBe(false);
  });

  it('end a command when the broker is closed', async () => {
    const abort = new AbortController();
    const reading = readCommandSource(['sleep', '20'], { ...context(), signal: abort.signal });
    abort.abort();
    await expect(reading).rejects.toThrow('closed');
  });
});
