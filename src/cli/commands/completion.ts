import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import type { CliCommand } from '../contract.ts';
import { RUN_OPTIONS } from '../options.ts';
import { COMMANDS } from '../table.ts';

const SHELLS: Readonly<Record<string, () => string>> = { bash, zsh, fish };

export const completionCommand: CliCommand = {
  name: 'completion',
  summary: 'print a completion script for bash, zsh or fish',
  usage: [
    'Usage: glovebox completion bash|zsh|fish',
    '',
    '  bash: glovebox completion bash > ~/.local/share/bash-completion/completions/glovebox',
    '  zsh:  glovebox completion zsh  > "${fpath[1]}/_glovebox"',
    '  fish: glovebox completion fish > ~/.config/fish/completions/glovebox.fish',
  ].join('\n'),
  run: async (args, io) => {
    const script = args.length === 1 ? SHELLS[args[0] ?? ''] : undefined;
    if (script === undefined) {
      throw new GloveboxError('E_USAGE', {
        what: 'name one shell',
        next: 'Use: glovebox completion bash|zsh|fish',
      });
    }
    io.stdout.write(script());
    return EXIT.ok;
  },
};

const verbs = (): string => [...COMMANDS.map((row) => row.name), 'help'].join(' ');
const flags = (): string => RUN_OPTIONS.map((option) => `--${option.name}`).join(' ');

function bash(): string {
  return `_glovebox() {
  local word="\${COMP_WORDS[COMP_CWORD]}" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [ "\${COMP_WORDS[i]}" = -- ]; then
      _command_offset $((i + 1)) 2>/dev/null || COMPREPLY=($(compgen -f -- "$word"))
      return
    fi
  done
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "${verbs()}" -- "$word")); return; fi
  case "\${COMP_WORDS[1]}" in
    run|shell|explain) COMPREPLY=($(compgen -W "${flags()}" -- "$word")) ;;
    policy) COMPREPLY=($(compgen -W "check explain diff trust untrust profiles import" -- "$word")) ;;
    image) COMPREPLY=($(compgen -W "import pull build list remove prune" -- "$word")) ;;
    review) COMPREPLY=($(compgen -W "list show apply discard --diff --protected" -- "$word")) ;;
    audit) COMPREPLY=($(compgen -W "tail show verify" -- "$word")) ;;
    exec|kill) COMPREPLY=($(compgen -W "--all $(glovebox list --quiet 2>/dev/null)" -- "$word")) ;;
    list) COMPREPLY=($(compgen -W "--name --state --metadata --quiet --json" -- "$word")) ;;
    verify) COMPREPLY=($(compgen -W "--tier --driver --image --json" -- "$word")) ;;
    completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$word")) ;;
    help) COMPREPLY=($(compgen -W "${verbs()}" -- "$word")) ;;
  esac
}
complete -F _glovebox glovebox
`;
}

function zsh(): string {
  const rows = COMMANDS.map((row) => `'${row.name}:${row.summary}'`).join(' ');
  const options = RUN_OPTIONS.map(
    (option) => `'--${option.name}[${option.help.replaceAll(/[[\]':]/g, ' ')}]'`,
  ).join(' ');
  return `#compdef glovebox
local -a verbs; verbs=(${rows} 'help:show help')
if (( CURRENT == 2 )); then _describe command verbs; return; fi
if (( \${words[(I)--]} )); then shift words; _normal; return; fi
case $words[2] in
  run|shell|explain) _arguments ${options} ;;
  policy) _values verb check explain diff trust untrust profiles import ;;
  image) _values verb import pull build list remove prune ;;
  review) _values verb list show apply discard ;;
  audit) _values verb tail show verify ;;
  exec|kill) _values sandbox \${(f)"$(glovebox list --quiet 2>/dev/null)"} ;;
  verify) _values option --tier --driver --image --json ;;
  completion) _values shell bash zsh fish ;;
esac
`;
}

function fish(): string {
  const rows = COMMANDS.map(
    (row) => `complete -c glovebox -n __fish_use_subcommand -f -a ${row.name} -d '${row.summary}'`,
  );
  const options = RUN_OPTIONS.map(
    (option) =>
      `complete -c glovebox -n '__fish_seen_subcommand_from run shell explain' -l ${option.name} -d '${option.help.replaceAll("'", '')}'`,
  );
  const living =
    "complete -c glovebox -n '__fish_seen_subcommand_from exec kill' -f -a '(glovebox list --quiet 2>/dev/null)'";
  return `${[...rows, ...options, living].join('\n')}\n`;
}
