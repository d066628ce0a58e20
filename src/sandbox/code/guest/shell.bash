# The kernel of a shell context: an interactive bash without terminal, because that one goes on with its next line after an interrupt. The
# control channel is its standard input, first for this text and then for the cells, a line each that holds the code in quotes.
# Descriptor 3 answers in frames of `kind id length` and then as many bytes; 4 and 5 are the output itself, wherever a cell sends its own.
exec 4>&1 5>&2
PS1='' PS2='' PS4='+ ' HISTFILE=
unset PROMPT_COMMAND
set +o history +H
__glovebox_mark() { printf '\0%s\0' "$__glovebox_cell" >&4; printf '\0%s\0' "$__glovebox_cell" >&5; }
__glovebox_send() { printf '%s %s %d\n%s' "$1" "$__glovebox_cell" "${#2}" "$2" >&3; }
__glovebox_cell() { __glovebox_cell=$1 __glovebox_code=$2 && __glovebox_send started '{}'; }
# An interactive shell would say "exit" on the way out.
exit() { builtin exit "$@" 2>/dev/null; }
__glovebox_done() {
  local status=$?
  __glovebox_send 'done' "{\"exitCode\":$status}"
  __glovebox_mark
}
__glovebox_cell=- && __glovebox_send ready "{\"version\":\"$BASH_VERSION\"}" && __glovebox_mark
