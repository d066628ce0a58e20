import { GloveboxError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { DRIVERS } from '../policy/driver-names.ts';
import type { CommandLineLayer, Tier } from '../policy/contract.ts';

/** One option of `run`, `shell` and `explain`. */
export interface RunOption {
  readonly name: string;
  readonly short?: string;
  /** Placeholder of its value; absent for a switch. */
  readonly value?: string;
  readonly many?: boolean;
  readonly help: string;
}

/** The options that make up the command-line layer, and those that steer the run. Help and completion read this. */
export const RUN_OPTIONS: readonly RunOption[] = [
  {
    name: 'profile',
    short: 'p',
    value: 'NAME',
    many: true,
    help: 'add a built-in profile (node, python, git, claude-code, codex, …)',
  },
  { name: 'policy', value: 'FILE', help: 'use this policy file besides the organisation and user policy' },
  {
    name: 'workspace',
    short: 'w',
    value: 'DIR',
    help: 'the one writable tree (default: the current directory)',
  },
  {
    name: 'allow',
    short: 'a',
    value: 'HOST[:PORT]',
    many: true,
    help: 'let the sandbox reach a host (default port 443)',
  },
  { name: 'read', value: 'PATH', many: true, help: 'make a path visible, read-only' },
  { name: 'write', value: 'PATH', many: true, help: 'make a path visible and writable' },
  { name: 'deny', value: 'PATH', many: true, help: 'hide a path or glob, also where it does not exist yet' },
  {
    name: 'env',
    short: 'e',
    value: 'NAME[=VALUE]',
    many: true,
    help: 'pass a variable of yours, or set one',
  },
  {
    name: 'publish',
    value: '[HOST:]PORT',
    many: true,
    help: 'reach a port of the sandbox on your 127.0.0.1',
  },
  {
    name: 'image',
    value: 'NAME|DIR',
    help: 'stand on an image of the store, or on an unpacked root file system',
  },
  { name: 'tier', value: 'TIER', help: 'process, container, vm, vm+gvisor or auto' },
  {
    name: 'driver',
    value: 'NAME',
    help: 'what makes the container (gvisor, docker, podman) or the vm (qemu, firecracker)',
  },
  { name: 'cwd', value: 'DIR', help: 'directory to start in (default: the current one, when visible)' },
  { name: 'cpu', value: 'N', help: 'CPUs, may be a fraction' },
  { name: 'memory', value: 'SIZE', help: 'memory of the whole sandbox, such as 2GiB' },
  { name: 'pids', value: 'N', help: 'processes and threads at once' },
  { name: 'files', value: 'N', help: 'open files of one process' },
  { name: 'file-size', value: 'SIZE', help: 'size of one file' },
  { name: 'output', value: 'SIZE', help: 'bytes of output before the command is ended' },
  { name: 'timeout', value: 'TIME', help: 'wall clock, such as 90s or 10m; exit code 124' },
  {
    name: 'review',
    help: 'work on a copy of the workspace; what changes waits for you (glovebox review)',
  },
  { name: 'quiet', short: 'q', help: 'no notices, only errors' },
  { name: 'verbose', short: 'v', help: 'say what is set up and what every attempt met' },
];

/** What a command line of `run` says. */
export interface ParsedRun {
  readonly layer: CommandLineLayer;
  readonly command: readonly string[];
  readonly publish: readonly string[];
  readonly cwd?: string;
  readonly quiet: boolean;
  readonly verbose: boolean;
}

/** Reads options up to `--` or the first word that is not one; the rest is the command, untouched. */
export function parseRun(args: readonly string[]): ParsedRun {
  const values = new Map<string, string[]>();
  let i = 0;
  for (; i < args.length; i++) {
    const arg = args[i] ?? '';
    if (arg === '--') {
      i++;
      break;
    }
    if (!arg.startsWith('-') || arg === '-') break;
    i += readOption(arg, args[i + 1], values);
  }
  return assemble(values, args.slice(i));
}

/** How many leading words of `run` are Glovebox's own: the rest, `--json` and `--help` among them, is the command's. */
export function ownWordCount(args: readonly string[]): number {
  let i = 0;
  while (i < args.length) {
    const arg = args[i] ?? '';
    if (arg === '--' || arg === '-' || !arg.startsWith('-')) break;
    const option = RUN_OPTIONS.find((row) => arg === `--${row.name}` || arg === `-${row.short ?? '-'}`);
    i += option?.value === undefined ? 1 : 2;
  }
  return Math.min(i, args.length);
}

/** Stores one option and answers how many further words it took. */
function readOption(arg: string, next: string | undefined, values: Map<string, string[]>): number {
  const equals = arg.startsWith('--') ? arg.indexOf('=') : -1;
  const name = equals === -1 ? arg : arg.slice(0, equals);
  const option = RUN_OPTIONS.find(
    (row) => `--${row.name}` === name || (row.short !== undefined && `-${row.short}` === name),
  );
  if (option === undefined) throw unknownOption(name);
  const inline = equals === -1 ? undefined : arg.slice(equals + 1);
  if (option.value === undefined && inline !== undefined) {
    throw new GloveboxError('E_USAGE', { what: `--${option.name} takes no value` });
  }
  const value = option.value === undefined ? 'true' : (inline ?? next);
  if (value === undefined || (inline === undefined && value === '--')) {
    throw new GloveboxError('E_USAGE', {
      what: `--${option.name} needs a value`,
      next: `Use: --${option.name} ${option.value}`,
    });
  }
  const earlier = values.get(option.name) ?? [];
  if (earlier.length > 0 && option.many !== true && option.value !== undefined) {
    throw new GloveboxError('E_USAGE', { what: `--${option.name} was given twice` });
  }
  values.set(option.name, [...earlier, value]);
  return option.value !== undefined && inline === undefined ? 1 : 0;
}

function unknownOption(name: string): GloveboxError {
  const near = nearest(
    name,
    RUN_OPTIONS.map((row) => `--${row.name}`),
  );
  return new GloveboxError('E_USAGE', {
    what: `there is no option ${name}`,
    next:
      near === undefined ? 'See `glovebox help run`; put -- before the command.' : `Did you mean ${near}?`,
  });
}

const LIMIT_OPTIONS = {
  cpu: 'cpu',
  memory: 'memory',
  pids: 'pids',
  files: 'files',
  'file-size': 'fileSize',
  output: 'output',
  timeout: 'timeout',
} as const;
const TIERS: readonly Tier[] = ['process', 'container', 'vm', 'vm+gvisor', 'auto'];

function assemble(values: ReadonlyMap<string, readonly string[]>, command: readonly string[]): ParsedRun {
  const one = (name: string): string | undefined => values.get(name)?.[0];
  const limits: Record<string, string> = {};
  for (const [option, key] of Object.entries(LIMIT_OPTIONS)) {
    const value = one(option);
    if (value !== undefined) limits[key] = value;
  }
  const cwd = one('cwd');
  return {
    layer: commandLineLayer(values, limits),
    command,
    publish: values.get('publish') ?? [],
    ...(cwd === undefined ? {} : { cwd }),
    quiet: values.has('quiet'),
    verbose: values.has('verbose'),
  };
}

function commandLineLayer(
  values: ReadonlyMap<string, readonly string[]>,
  limits: Record<string, string>,
): CommandLineLayer {
  const layer: Record<string, unknown> = {};
  const lists = {
    profile: 'profiles',
    allow: 'allow',
    read: 'read',
    write: 'write',
    deny: 'deny',
    env: 'env',
  };
  for (const [option, key] of Object.entries(lists)) if (values.has(option)) layer[key] = values.get(option);
  const singles = { policy: 'policyFile', workspace: 'workspace', image: 'base' };
  for (const [option, key] of Object.entries(singles))
    if (values.has(option)) layer[key] = values.get(option)?.[0];
  if (values.has('review')) layer['mode'] = 'review';
  const tier = values.get('tier')?.[0];
  if (tier !== undefined) layer['tier'] = known('tier', tier, TIERS);
  const driver = values.get('driver')?.[0];
  if (driver !== undefined) layer['driver'] = known('driver', driver, DRIVERS);
  if (Object.keys(limits).length > 0) layer['limits'] = limits;
  return layer;
}

function known<T extends string>(what: string, text: string, names: readonly T[]): T {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  const near = nearest(text, names);
  throw new GloveboxError('E_USAGE', {
    what: `there is no ${what} "${text}"`,
    next: `Use one of ${names.join(', ')}${near === undefined ? '' : `; did you mean ${near}?`}`,
  });
}

/** The option list as help text. */
export function optionHelp(): string {
  const left = RUN_OPTIONS.map(
    (row) =>
      `  ${row.short === undefined ? '    ' : `-${row.short}, `}--${row.name}${row.value === undefined ? '' : ` ${row.value}`}`,
  );
  const width = Math.max(...left.map((text) => text.length));
  return RUN_OPTIONS.map((row, i) => `${(left[i] ?? '').padEnd(width)}  ${row.help}`).join('\n');
}
