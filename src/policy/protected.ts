/** A name that some program outside the sandbox reads and then runs something. */
export interface ProtectedName {
  /** Relative to the workspace, or to another writable tree. */
  readonly name: string;
  readonly why: string;
}

/** A path that is reported when it appears or changes somewhere in the workspace. */
export interface AppearedPattern {
  /** Trailing path: `.husky/*` matches `packages/a/.husky/pre-commit`. `*` is one segment. */
  readonly pattern: string;
  readonly why: string;
}

const names = (why: string, ...list: readonly string[]): readonly ProtectedName[] =>
  list.map((name) => ({ name, why }));

/**
 * Readable and never writable, held even where absent at the root of the workspace. What is here is run or obeyed by a program
 * *without* a person asking for it: on opening a directory, on `cd`, on the next commit, on the next start of an agent.
 * Not here, on purpose: `package.json`, `Makefile`, `.gitattributes`, CI workflows, `CLAUDE.md`, `AGENTS.md`. They are the work
 * itself, stand in the difference that a person reviews, and take effect only when somebody runs or pushes them.
 */
export const PROTECT: readonly ProtectedName[] = [
  ...names(
    'bash reads it when it starts',
    '.bashrc',
    '.bash_profile',
    '.bash_login',
    '.bash_logout',
    '.bash_aliases',
    '.profile',
  ),
  ...names('zsh reads it when it starts', '.zshrc', '.zprofile', '.zshenv', '.zlogin', '.zlogout'),
  ...names('the shell reads it when it starts', '.cshrc', '.tcshrc', '.kshrc'),
  ...names('readline binds keys to commands with it', '.inputrc'),
  ...names('names programs that git runs: aliases, filters, editors, hooks', '.gitconfig'),
  ...names('names URLs and update commands of submodules', '.gitmodules'),
  ...names('names a preprocessor that ripgrep runs', '.ripgreprc'),
  ...names('direnv runs it on entering the directory', '.envrc'),
  ...names(
    'git runs these on commit and push once they are set up',
    '.husky',
    '.pre-commit-config.yaml',
    'lefthook.yml',
    '.lefthook.yml',
  ),
  ...names('the editor runs its tasks and settings on opening the directory', '.vscode', '.idea', '.zed'),
  ...names('the editor builds and starts a container from it', '.devcontainer', '.devcontainer.json'),
  ...names('names servers that an agent starts', '.mcp.json'),
  ...names(
    'settings, hooks and commands of an agent',
    '.claude',
    '.cursor',
    '.codex',
    '.gemini',
    '.continue',
    '.windsurf',
    '.opencode',
  ),
  ...names('settings of an agent', '.aider.conf.yml'),
  ...names('names registries and the shell that npm uses', '.npmrc'),
  ...names('yarn loads the program that yarnPath names', '.yarnrc.yml', '.yarnrc'),
  ...names('pnpm runs it on every install', '.pnpmfile.cjs', '.pnpmfile.mjs'),
  ...names('the policy of the sandbox itself', 'glovebox.yaml', '.glovebox'),
];

/**
 * What a git directory holds that decides what git runs, relative to that directory (gitrepository-layout(5), git-config(1)).
 * Protected in every repository that is known at the start; `modules` and `worktrees` hold git directories of their own.
 */
export const GIT_INTERNAL: readonly ProtectedName[] = [
  ...names('git runs these programs', 'hooks'),
  ...names('names programs that git runs: hooks path, filters, aliases, ssh command', 'config'),
  ...names('the same, for one worktree', 'config.worktree'),
  ...names('selects filters and diff drivers', 'info/attributes'),
  ...names('points git at another configuration', 'commondir'),
  ...names(
    'the same, in a submodule',
    'modules/*/hooks',
    'modules/*/config',
    'modules/*/config.worktree',
    'modules/*/info/attributes',
  ),
  ...names(
    'the same, in a linked worktree',
    'worktrees/*/config.worktree',
    'worktrees/*/commondir',
    'worktrees/*/gitdir',
  ),
];

/** Names below `.git` of the workspace that `protect: ["!…"]` may lift too: `git push -u` writes the one, hook managers the other. */
export const LIFTABLE_GIT: readonly string[] = ['.git/config', '.git/hooks'];

const appeared = (why: string, ...list: readonly string[]): readonly AppearedPattern[] =>
  list.map((pattern) => ({ pattern, why }));

/** Reported when it appears or changes deeper in the tree, where holding every absent name would cost a mount each. */
export const APPEARED_PATTERNS: readonly AppearedPattern[] = [
  ...appeared('a repository that git enters by itself', '.git'),
  ...appeared(
    'git runs what it names when the operation goes on',
    '.git/rebase-merge/git-rebase-todo',
    '.git/rebase-apply/*',
    '.git/sequencer/todo',
  ),
  ...appeared('points git at another configuration', '.git/commondir'),
  ...appeared(
    'moved or linked into its place as a whole',
    '.vscode',
    '.idea',
    '.husky',
    '.devcontainer',
    '.claude',
    '.cursor',
    '.codex',
    '.gemini',
  ),

  ...appeared(
    'git runs it',
    '.git/hooks/*',
    'hooks/pre-commit',
    'hooks/post-checkout',
    'hooks/pre-push',
    'hooks/post-merge',
  ),
  ...appeared(
    'names programs that git runs',
    '.git/config',
    '.git/config.worktree',
    '.git/info/attributes',
    '.gitconfig',
    '.gitmodules',
  ),
  ...appeared(
    'git runs it once it is set up',
    '.husky/*',
    '.pre-commit-config.yaml',
    'lefthook.yml',
    '.lefthook.yml',
  ),
  ...appeared('direnv runs it on entering the directory', '.envrc'),
  ...appeared(
    'the shell reads it when it starts',
    '.bashrc',
    '.bash_profile',
    '.profile',
    '.zshrc',
    '.zshenv',
    '.zprofile',
  ),
  ...appeared(
    'the editor runs it on opening the directory',
    '.vscode/tasks.json',
    '.vscode/settings.json',
    '.vscode/launch.json',
    '.vscode/extensions.json',
    '.idea/workspace.xml',
    '.idea/runConfigurations/*',
  ),
  ...appeared(
    'the editor builds and starts a container from it',
    '.devcontainer/devcontainer.json',
    '.devcontainer.json',
  ),
  ...appeared('names servers that an agent starts', '.mcp.json', '.cursor/mcp.json', '.vscode/mcp.json'),
  ...appeared(
    'settings, hooks and commands of an agent',
    '.claude/settings.json',
    '.claude/settings.local.json',
    '.claude/commands/*',
    '.claude/agents/*',
    '.claude/hooks/*',
    '.claude/skills/*/SKILL.md',
    '.cursor/rules/*',
    '.cursorrules',
    '.codex/config.toml',
    '.gemini/settings.json',
    '.aider.conf.yml',
  ),
  ...appeared(
    'a package manager runs code that it names',
    '.npmrc',
    '.yarnrc.yml',
    '.yarnrc',
    '.pnpmfile.cjs',
    '.pnpmfile.mjs',
    'sitecustomize.py',
    'usercustomize.py',
    'conftest.py',
    'setup.py',
    'binding.gyp',
    'build.rs',
    '.cargo/config.toml',
    '.mvn/extensions.xml',
    '.mvn/wrapper/maven-wrapper.properties',
  ),
  ...appeared(
    'continuous integration runs it on the next push',
    '.github/workflows/*',
    '.github/actions/*/action.yml',
    '.gitlab-ci.yml',
    '.circleci/config.yml',
    'Jenkinsfile',
    'azure-pipelines.yml',
    'bitbucket-pipelines.yml',
    '.buildkite/pipeline.yml',
  ),
  ...appeared('a policy of the sandbox itself', 'glovebox.yaml', '.glovebox/policy.yaml'),
];

/** Every name that `protect: ["!NAME"]` may lift. */
export function liftableNames(): readonly string[] {
  return [...PROTECT.map((entry) => entry.name), ...LIFTABLE_GIT];
}
