import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { caught, PolicyFixture } from './fixture.ts';
import { profileFile, profileNames } from './profiles.ts';
import { APPEARED_PATTERNS, GIT_INTERNAL, liftableNames, PROTECT } from './protected.ts';
import { resolvePolicy } from './resolve.ts';

interface Written {
  readonly description?: string;
  readonly filesystem?: Readonly<Record<string, unknown>>;
  readonly network?: { readonly allow?: readonly unknown[]; readonly deny?: readonly unknown[] };
  readonly process?: { readonly env?: readonly unknown[] };
}

function holes(name: string): readonly unknown[] {
  const written: Written = parse(readFileSync(profileFile(name), 'utf8'));
  const paths = ['read', 'write', 'deny', 'protect'].flatMap((key) => {
    const list = written.filesystem?.[key];
    return Array.isArray(list) ? list : [];
  });
  return [
    ...paths,
    ...(written.network?.allow ?? []),
    ...(written.network?.deny ?? []),
    ...(written.process?.env ?? []),
  ];
}

describe('built-in profiles', () => {
  it('are these', () => {
    expect(profileNames()).toEqual([
      'claude-code',
      'claude-code-pinned',
      'code',
      'codex',
      'codex-pinned',
      'default',
      'empty',
      'git',
      'node',
      'python',
    ]);
  });

  it.each(profileNames())('%s says why for every hole', (name) => {
    const silent = holes(name).filter(
      (hole) =>
        typeof hole !== 'object' ||
        hole === null ||
        !('why' in hole) ||
        typeof hole.why !== 'string' ||
        hole.why.length < 10,
    );
    expect(silent).toEqual([]);
  });

  it.each([
    ['empty', [], [], []],
    ['default', [], [], []],
    ['code', [], [], []],
    ['python', ['pypi.org:443', 'files.pythonhosted.org:443'], [], []],
    ['node', ['registry.npmjs.org:443'], [], []],
    ['git', [], ['.gitconfig', '.config/git/config', '.config/git/ignore', '.config/git/attributes'], []],
    [
      'claude-code',
      ['api.anthropic.com:443'],
      [
        '.gitconfig',
        '.config/git/config',
        '.config/git/ignore',
        '.config/git/attributes',
        '.claude',
        '.claude.json',
        '.local/share/claude',
        '.local/bin/claude',
      ],
      [
        '.claude/projects',
        '.claude/todos',
        '.claude/tasks',
        '.claude/plans',
        '.claude/file-history',
        '.claude/debug',
      ],
    ],
    [
      'codex',
      ['api.openai.com:443', 'chatgpt.com:443'],
      ['.gitconfig', '.config/git/config', '.config/git/ignore', '.config/git/attributes', '.codex'],
      ['.codex/sessions', '.codex/log'],
    ],
  ])('%s opens this and no more', (name, hosts, read, write) => {
    using fixture = new PolicyFixture();
    const { filesystem, network } = resolvePolicy(fixture.context, { profiles: [name] }).policy;
    const inHome = (rules: readonly { readonly path: string }[]): readonly string[] =>
      rules.map((rule) => rule.path.replace(`${fixture.home}/`, ''));
    expect(network.allow.map((rule) => `${rule.host}:${rule.ports.join(',')}`)).toEqual(hosts);
    expect(inHome(filesystem.read)).toEqual(read);
    expect(inHome(filesystem.write)).toEqual(write);
    expect([...filesystem.read, ...filesystem.write].every((rule) => rule.optional)).toBe(true);
  });

  it('keep what steers later sessions of an agent from being written, whatever a user opens', () => {
    using fixture = new PolicyFixture();
    const { filesystem } = resolvePolicy(fixture.context, {
      profiles: ['claude-code', 'codex'],
      write: ['~/.claude', '~/.codex'],
    }).policy;
    const protect = filesystem.protect.map((rule) => rule.path.replace(`${fixture.home}/`, ''));
    expect(protect).toEqual(
      expect.arrayContaining([
        '.claude/settings.json',
        '.claude/hooks',
        '.claude/commands',
        '.claude/agents',
        '.claude.json',
        '.codex/config.toml',
        '.codex/prompts',
      ]),
    );
  });

  it('have a nearest name', () => {
    expect(caught(() => profileFile('claud-code')).next).toContain('Did you mean claude-code?');
  });
});

describe('protected names', () => {
  it('are single names: a missing parent could not be held', () => {
    expect(PROTECT.filter((entry) => entry.name.includes('/'))).toEqual([]);
  });

  it('are distinct and say why', () => {
    expect(new Set(liftableNames()).size).toBe(liftableNames().length);
    for (const entry of [...PROTECT, ...GIT_INTERNAL, ...APPEARED_PATTERNS])
      expect(entry.why.length).toBeGreaterThan(8);
    expect(new Set(APPEARED_PATTERNS.map((entry) => entry.pattern)).size).toBe(APPEARED_PATTERNS.length);
  });

  it('hold these at least (parity with the field)', () => {
    const names = PROTECT.map((entry) => entry.name);
    const srt = [
      '.gitconfig',
      '.gitmodules',
      '.bashrc',
      '.bash_profile',
      '.zshrc',
      '.zprofile',
      '.profile',
      '.ripgreprc',
      '.mcp.json',
      '.vscode',
      '.idea',
      '.claude',
    ];
    expect(names).toEqual(
      expect.arrayContaining([
        ...srt,
        '.envrc',
        '.husky',
        '.cursor',
        '.codex',
        '.gemini',
        '.devcontainer',
        '.zshenv',
        '.zlogin',
        'glovebox.yaml',
        '.glovebox',
      ]),
    );
    expect(GIT_INTERNAL.map((entry) => entry.name)).toEqual(
      expect.arrayContaining(['hooks', 'config', 'config.worktree', 'info/attributes', 'commondir']),
    );
  });
});
