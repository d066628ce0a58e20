# The kernel of a shell context: an interactive bash without terminal, because that one goes on with its next line after an interrupt. The
# control channel is its standard input, first for this text and then for the cells. Descriptor 40 answers in frames of `kind id length`
# and then as many bytes; 41 and 42 are the output itself, wherever a cell sends its own. Low numbers are left to the cells.
exec 40>&3 41>&1 42>&2 3>&-
PS1='' PS2='' PS4='+ ' HISTFILE=
unset PROMPT_COMMAND
set +o history +H
__glovebox_trace=+x __glovebox_over=
__glovebox_mark() { builtin printf '\0%s\0' "$__glovebox_cell" >&41; builtin printf '\0%s\0' "$__glovebox_cell" >&42; }
__glovebox_send() { builtin printf '%s %s %d\n%s' "$1" "$__glovebox_cell" "${#2}" "$2" >&40; }
__glovebox_begin() { __glovebox_cell=$1 __glovebox_code=$2 && __glovebox_send started '{}'; }
# What a cell traces is its own business, what this does is nobody's. Called again behind every repeated interrupt, which may have hit it.
__glovebox_done() {
  builtin local status=$?
  if [[ $__glovebox_over == "$__glovebox_cell" ]]; then builtin return; fi
  case $- in *x*) __glovebox_trace=-x && builtin set +x ;; *) __glovebox_trace=+x ;; esac
  __glovebox_send 'done' "{\"exitCode\":$status}"
  __glovebox_mark
  __glovebox_over=$__glovebox_cell
}
__glovebox_cell=- && __glovebox_send ready "{\"version\":\"$BASH_VERSION\"}" && __glovebox_mark
