import type { CliCommand } from './contract.ts';

/** One verb: what help and completion need without loading it. */
export interface TableRow {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<CliCommand>;
}

/** Every verb of the command line. Parser, help, completion and the reference page are made from this table. */
export const COMMANDS: readonly TableRow[] = [
  {
    name: 'run',
    summary: 'run a command in a sandbox',
    load: async () => (await import('./commands/run.ts')).runCommand,
  },
  {
    name: 'shell',
    summary: 'open an interactive shell in a sandbox',
    load: async () => (await import('./commands/shell.ts')).shellCommand,
  },
  {
    name: 'code',
    summary: 'run a piece of code in a fresh sandbox and say exactly how it ended',
    load: async () => (await import('./commands/code.ts')).codeCommand,
  },
  {
    name: 'list',
    summary: 'list the living sandboxes of this user',
    load: async () => (await import('./commands/list.ts')).listCommand,
  },
  {
    name: 'exec',
    summary: 'run a command in a living sandbox',
    load: async () => (await import('./commands/exec.ts')).execCommand,
  },
  {
    name: 'kill',
    summary: 'end living sandboxes',
    load: async () => (await import('./commands/kill.ts')).killCommand,
  },
  {
    name: 'explain',
    summary: 'print the plan: what a command would see, reach and spend',
    load: async () => (await import('./commands/explain.ts')).explainCommand,
  },
  {
    name: 'policy',
    summary: 'check, explain, compare, trust and import policies',
    load: async () => (await import('./commands/policy.ts')).policyCommand,
  },
  {
    name: 'audit',
    summary: 'show and verify the record of every decision',
    load: async () => (await import('./commands/audit.ts')).auditCommand,
  },
  {
    name: 'review',
    summary: 'look at what a sandbox changed in its copy of the workspace, and apply it',
    load: async () => (await import('./commands/review.ts')).reviewCommand,
  },
  {
    name: 'secrets',
    summary: 'keep credentials in an encrypted file, for machines without a password manager',
    load: async () => (await import('./commands/secrets.ts')).secretsCommand,
  },
  {
    name: 'image',
    summary: 'import, pull, build and remove base systems',
    load: async () => (await import('./commands/image.ts')).imageCommand,
  },
  {
    name: 'doctor',
    summary: 'check this machine and print the exact fix for what is missing',
    load: async () => (await import('./commands/doctor.ts')).doctorCommand,
  },
  {
    name: 'verify',
    summary: 'start a sandbox, try to get out of it in many ways, and say which walls held',
    load: async () => (await import('./commands/verify.ts')).verifyCommand,
  },
  {
    name: 'completion',
    summary: 'print a completion script for bash, zsh or fish',
    load: async () => (await import('./commands/completion.ts')).completionCommand,
  },
  {
    name: 'version',
    summary: 'print the version',
    load: async () => (await import('./commands/version.ts')).versionCommand,
  },
];
