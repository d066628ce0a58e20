import { PassThrough } from 'node:stream';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { PolicyFixture } from '../../policy/fixture.ts';
import { policyCommand } from '../commands/policy.ts';
import type { CliIo } from '../contract.ts';
import { main } from '../main.ts';

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `glovebox policy …` in a fixture; `answer` is typed at a terminal. */
async function policy(fixture: PolicyFixture, args: readonly string[], answer?: string): Promise<Outcome> {
  const [stdout, stderr, stdin] = [new PassThrough(), new PassThrough(), new PassThrough()];
  if (answer !== undefined) {
    Object.assign(stdin, { isTTY: true });
    Object.assign(stderr, { isTTY: true });
    stdin.write(answer);
  }
  const io: CliIo = {
    stdout,
    stderr,
    stdin: Object.assign(stdin, { isTTY: answer !== undefined }) as unknown as CliIo['stdin'],
    env: { HOME: fixture.home, XDG_RUNTIME_DIR: path.join(fixture.root, 'run') },
    cwd: fixture.workspace,
    json: false,
  };
  const code = await main(['policy', ...args], io);
  return { code, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
}

describe('glovebox policy', () => {
  it('checks all layers, and one file, with every problem at its place', async () => {
    using fixture = new PolicyFixture();
    expect((await policy(fixture, ['check'])).out).toMatch(
      /^ok: built-in policy: 0 network grants, 0 paths beside the workspace, \d+ guarded\npolicy sha256 [0-9a-f]{64}\n$/,
    );
    const file = fixture.write(
      path.join(fixture.workspace, 'bad.yaml'),
      'version: 1\nnetwrok: {}\ntier: x\n',
    );
    const { code, err } = await policy(fixture, ['check', 'bad.yaml']);
    expect(code).toBe(125);
    expect(err).toBe(`glovebox: the policy has 2 problems:
  ${file}:2:1: netwrok: there is no such key (did you mean network?)
  ${file}:3:7: tier: found "x", expected one of process, container, vm, vm+gvisor, auto
  Correct the policy; \`glovebox policy check\` shows every problem at once. [E_POLICY_INVALID]
`);
    expect(await policy(fixture, ['check', '--policy', 'bad.yaml'])).toEqual({ code, err, out: '' });
    expect((await policy(fixture, ['check', '--policy', 'a', 'b'])).err).toContain(
      'policy check takes at most 1: b',
    );
    fixture.project('version: 1\nextends: [./x.yaml]\n');
    expect((await policy(fixture, ['check', 'glovebox.yaml'])).err).toContain(
      'a project policy extends built-in profiles only',
    );
    const json: unknown = JSON.parse((await policy(fixture, ['check', '--json'])).out);
    expect(json).toMatchObject({ ok: true, notices: [expect.stringContaining('is not trusted')] });
  });

  it('explains the policy of a run', async () => {
    using fixture = new PolicyFixture();
    const { out } = await policy(fixture, ['explain', '-p', 'python', '--allow', 'x.test', '--sources']);
    expect(out).toContain('allow    pypi.org:443 (https)  <- profile:python:');
    expect(out).toContain('allow    x.test:443 (https)  <- command-line\n');
    const json: unknown = JSON.parse((await policy(fixture, ['explain', '--json'])).out);
    expect(json).toMatchObject({
      policy: { version: 1, tier: 'process' },
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('compares the policy without and with what the project asks for, trusted or not', async () => {
    using fixture = new PolicyFixture();
    expect((await policy(fixture, ['diff'])).out).toBe('no difference\n');
    fixture.project('version: 1\nnetwork: { allow: [a.test] }\nlimits: { pids: 5 }\n');
    expect((await policy(fixture, ['diff'])).out).toBe(
      'widens   added    network.allow  a.test:443 (https)\nnarrows  changed  limits.pids  1024 -> 5\n',
    );
    expect((await policy(fixture, ['diff', 'profile:default', 'profile:node'])).out).toContain(
      'widens   added    network.allow  registry.npmjs.org:443 (https)\n',
    );
    expect((await policy(fixture, ['diff', 'a', 'b', 'c'])).err).toContain('policy diff takes at most 2: c');
  });

  it('trusts after a typed yes, and only then', async () => {
    using fixture = new PolicyFixture();
    const file = fixture.project('version: 1\nnetwork: { allow: [a.test] }\nlimits: { pids: 5 }\n');
    const pipe = await policy(fixture, ['trust']);
    expect([pipe.code, pipe.err]).toEqual([
      125,
      expect.stringContaining('nobody can be asked: this is not a terminal'),
    ]);
    const no = await policy(fixture, ['trust'], 'y\n');
    expect([no.code, no.err]).toEqual([125, expect.stringContaining('not trusted; nothing was changed')]);
    const yes = await policy(fixture, ['trust'], 'yes\n');
    expect(yes.err).toMatch(
      new RegExp(
        `^${file}  sha256 [0-9a-f]{16}\n  widens   reaches a.test:443 \\(https\\)  \\(line 2\\)\n  narrows  changed  limits.pids  1024 -> 5\n`,
      ),
    );
    expect([yes.code, yes.out]).toEqual([
      0,
      expect.stringMatching(/^trusted .*glovebox\.yaml sha256 [0-9a-f]{16}\n$/),
    ]);
    expect((await policy(fixture, ['explain'])).out).toContain('a.test:443');
    expect((await policy(fixture, ['untrust'])).out).toBe(
      `no longer trusted: the policy of ${fixture.workspace}\n`,
    );
    expect((await policy(fixture, ['untrust'])).out).toBe('it was not trusted\n');
    const { out, err } = await policy(fixture, ['explain']);
    expect(out).not.toContain('a.test:443');
    expect(err).toContain('is left out: it is not trusted');
  });

  it('trusts without asking, in whole or for the tightenings alone', async () => {
    using fixture = new PolicyFixture();
    fixture.project('version: 1\nnetwork: { allow: [a.test] }\nlimits: { pids: 5 }\n');
    const tight = await policy(fixture, ['trust', '--yes', '--tighten-only']);
    expect([tight.err, tight.out]).toEqual([
      expect.stringContaining('(left out)'),
      expect.stringContaining('tightenings only'),
    ]);
    const explained = await policy(fixture, ['explain']);
    expect(explained.out).not.toContain('a.test');
    expect(explained.out).toMatch(/limits\.pids +5\n/);
    expect(explained.err).toContain(
      'widens what you did not accept, which is left out: reaches a.test:443 (https)',
    );
    const json: unknown = JSON.parse((await policy(fixture, ['trust', '--yes', '--json'])).out);
    expect(json).toMatchObject({
      accepted: [expect.stringContaining('a.test')],
      widenings: [{ text: 'reaches a.test:443 (https)' }],
    });
  });

  it('has nothing to trust where there is no policy', async () => {
    using fixture = new PolicyFixture();
    expect((await policy(fixture, ['trust'])).err).toContain(
      'A project policy is glovebox.yaml or .glovebox/policy.yaml in the workspace.',
    );
  });

  it('lists and prints profiles', async () => {
    using fixture = new PolicyFixture();
    expect((await policy(fixture, ['profiles'])).out).toMatch(
      /^claude-code +\S.*\nclaude-code-pinned +\S.*\ncode +\S.*\ncodex +\S/,
    );
    expect((await policy(fixture, ['profiles', 'node'])).out).toContain('registry.npmjs.org');
    expect((await policy(fixture, ['profiles', 'nod'])).err).toContain('Did you mean node?');
  });

  it('imports network settings, with the place of what it refuses', async () => {
    using fixture = new PolicyFixture();
    const file = fixture.write(
      `${fixture.root}/egress.json`,
      '{ "network": { "allowedDomains": ["api.test"], "rules": [{ "host": "b.test", "allow": [{ "path": "/v1/**" }] }] } }',
    );
    const { out, code } = await policy(fixture, ['import', 'egress', file]);
    expect(code).toBe(0);
    expect(out).toContain(
      '# allowedDomains[0]: api.test meant every port; here it is 443 (TLS) and 80 (HTTP)\n',
    );
    expect(out).toContain('path: /v1/**');
    fixture.write(file, '{ "network": {\n  "allowedDomain": [] } }');
    expect((await policy(fixture, ['import', 'egress', file])).err).toContain(
      'egress.json:2:20: allowedDomain: there is no such key',
    );
  });

  it('imports srt settings', async () => {
    using fixture = new PolicyFixture();
    const file = fixture.write(
      path.join(fixture.root, 'srt.json'),
      '{"network":{"allowedDomains":["a.test:443"]},"windows":{}}',
    );
    expect((await policy(fixture, ['import', 'srt', file])).err).toContain(
      'windows: it cannot be carried over: it is for Windows only',
    );
    const { out, err, code } = await policy(fixture, ['import', 'srt', file, '--partial']);
    expect([code, out, err]).toEqual([
      0,
      expect.stringContaining('- a.test:443'),
      expect.stringContaining('windows: it cannot be carried over'),
    ]);
    expect((await policy(fixture, ['import', 'nono', file])).err).toContain(
      'policy import knows no format "nono"',
    );
  });

  it('names the nearest verb and option', async () => {
    using fixture = new PolicyFixture();
    expect((await policy(fixture, ['chekc'])).err).toContain('Did you mean `glovebox policy check`?');
    expect((await policy(fixture, [])).err).toContain(
      'policy needs one of check, explain, diff, trust, untrust, profiles, import',
    );
    expect((await policy(fixture, ['trust', '--tighten'])).err).toContain(
      'policy trust has no option --tighten',
    );
    expect((await policy(fixture, ['trust', '--yess'])).err).toContain('Did you mean --yes?');
    expect((await policy(fixture, ['explain', 'word'])).err).toContain(
      'policy explain takes no further words: word',
    );
    expect(policyCommand.usage).toContain('glovebox policy import srt FILE');
  });
});
