/** Names that an environment variable may have (POSIX.1-2024 §8.1, as shells accept them). */
export const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

/**
 * Host variables that steer a loader, an interpreter or git inside: what the host needs there is wrong or hostile in the sandbox,
 * so they never pass. A policy may still `set` them.
 */
export const NEVER_PASSED =
  /^(?:LD_|GLIBC_|GLOVEBOX_|NODE_OPTIONS$|NODE_CHANNEL|BASH_ENV$|ENV$|BASH_FUNC_|PYTHONSTARTUP$|PERL5OPT$|RUBYOPT$|GIT_SSH|GIT_CONFIG)/;
