import { isGlob } from '../path-text.ts';
import { HOST_LOOPBACK, parseHostEntry } from '../host-entry.ts';
import {
  ANYTHING,
  BOOLEAN,
  MAPPINGS,
  NUMBER,
  PATHS,
  REASONS,
  TEXTS,
  type HostReason,
  type Shape,
  type SrtPath,
} from './srt-shapes.ts';

/** The policy that an import builds up, in the order it is printed. */
export interface SrtOutput {
  readonly allow: string[];
  readonly deny: { host: string; ports?: number[]; reason?: string }[];
  readonly read: string[];
  readonly write: string[];
  readonly denyPaths: string[];
  readonly protect: string[];
  nesting?: boolean;
  /** What a reader should know, printed as comments. */
  readonly notes: string[];
}

/** What became of one key: carried over, of the wrong kind, or without an equal. */
export type SrtOutcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'invalid'; readonly expected: string }
  | { readonly kind: 'refused'; readonly why: string };

/** One key of srt settings, and how its value is carried over. */
export interface SrtRow {
  readonly key: string;
  readonly apply: (value: unknown, out: SrtOutput) => SrtOutcome;
}

function row<T>(
  key: string,
  shape: Shape<T>,
  apply: (value: T, out: SrtOutput) => string | undefined,
): SrtRow {
  return {
    key,
    apply: (written, out) => {
      const value = shape.read(written);
      if (value === undefined) return { kind: 'invalid', expected: shape.expected };
      const why = apply(value, out);
      return why === undefined ? { kind: 'done' } : { kind: 'refused', why };
    },
  };
}

const refuse = (key: string, why: string): SrtRow => row(key, ANYTHING, () => why);
/** Refused unless it says what holds here anyway. */
const onlyIf = (key: string, harmless: unknown, why: string): SrtRow =>
  row(key, ANYTHING, ({ written }) =>
    JSON.stringify(written) === JSON.stringify(harmless) ? undefined : why,
  );

function note<T>(key: string, shape: Shape<T>, text: string): SrtRow {
  return row(key, shape, (_value, out) => {
    out.notes.push(`${key}: ${text}`);
    return undefined;
  });
}

const HELPERS = 'Glovebox finds its own helpers and does not take paths for them from a settings file';
const MACOS = 'it is for macOS only';
const BROKER = 'masking is done by the credential broker: define it under `credentials` by hand';

/** Every key that srt knows. A key that is not here is an error, with the nearest one. */
export const SRT_TABLE: readonly SrtRow[] = [
  row('network.allowedDomains', TEXTS, allowedDomains),
  row('network.deniedDomains', TEXTS, deniedDomains),
  row('network.deniedDomainReasons', REASONS, deniedReasons),
  note('network.strictAllowlist', BOOLEAN, 'what is not allowed is refused; nobody is asked'),
  onlyIf(
    'network.deniedResolvedAddresses',
    [],
    'address ranges cannot be denied; private, link-local and metadata addresses are refused without it',
  ),
  onlyIf('network.allowUnixSockets', [], 'sockets of the host are never visible inside'),
  onlyIf('network.allowAllUnixSockets', false, 'it would turn the system call filter off'),
  onlyIf(
    'network.allowLocalBinding',
    false,
    'a sandbox has a loopback of its own; name a service of this machine as host-loopback:PORT in network.allow',
  ),
  refuse('network.allowMachLookup', MACOS),
  refuse('network.httpProxyPort', 'the gateway is part of Glovebox and its port is its own business'),
  refuse('network.socksProxyPort', 'the gateway is part of Glovebox and its port is its own business'),
  refuse('network.mitmProxy', 'traffic is not handed to an external proxy'),
  refuse('network.parentProxy', 'write it by hand as network.parentProxy'),
  refuse('network.filterRequest', 'a callback cannot stand in a policy; use requests and refuse of a rule'),
  onlyIf('network.allowPlaintextHeaderSet', false, 'credentials are never sent in clear'),
  refuse('network.stripResponseHeaders', 'write it in the rules that look inside: stripResponseHeaders'),
  note(
    'network.refuseOpaqueTunnels',
    BOOLEAN,
    'a rule without protocol: tcp admits TLS with the right name only',
  ),
  onlyIf('network.requireHostMatch', true, 'names are always compared'),
  onlyIf('network.ambiguousRequestTarget', 'refuse', 'ambiguous request targets are always refused'),
  refuse('network.tlsTerminate', 'inspection is asked for in each rule: tls: inspect'),
  row('filesystem.denyRead', PATHS, (value, out) => pathsInto(value, out.denyPaths, 'any')),
  row('filesystem.allowRead', PATHS, allowRead),
  row('filesystem.allowWrite', PATHS, (value, out) => pathsInto(value, out.write, 'tree')),
  row('filesystem.denyWrite', PATHS, (value, out) => pathsInto(value, out.protect, 'any')),
  row('filesystem.allowGitConfig', BOOLEAN, (value, out) => {
    if (value) out.protect.push('!.git/config');
    return undefined;
  }),
  onlyIf('filesystem.disabled', false, 'there is no sandbox without a filtered view of the files'),
  row('credentials.files', MAPPINGS, credentialFiles),
  row('credentials.envVars', MAPPINGS, credentialVariables),
  onlyIf('credentials.allowPlaintextInject', false, 'credentials are never sent in clear'),
  refuse('credentials.awsPairs', BROKER),
  refuse('credentials.sigv4', BROKER),
  refuse('ignoreViolations', 'every denial leaves a record'),
  note('mandatoryDenySearchDepth', NUMBER, 'protected names are held by name, not searched for'),
  onlyIf('enableWeakerNestedSandbox', false, 'there is no weaker mode'),
  row('allowNestedUserNamespaces', BOOLEAN, (value, out) => {
    out.nesting = value;
    return undefined;
  }),
  refuse('bwrapPath', HELPERS),
  refuse('socatPath', HELPERS),
  refuse('ripgrep', HELPERS),
  refuse('seccomp', HELPERS),
  refuse('javaAgentJarPath', HELPERS),
  refuse('git.safeDirectories', 'git settings are not injected; the workspace keeps its owner inside'),
  note('allowPty', BOOLEAN, 'terminals work without it'),
  refuse('allowAppleEvents', MACOS),
  refuse('enableWeakerNetworkIsolation', MACOS),
  refuse('windows', 'it is for Windows only'),
];

/** Sections whose keys are rows of the table. */
export const SRT_SECTIONS: readonly string[] = ['network', 'filesystem', 'credentials', 'git'];

function allowedDomains(hosts: readonly string[], out: SrtOutput): string | undefined {
  for (const text of hosts) {
    const entry = parseHostEntry(text, 'allow');
    if (!entry.ok) return `${JSON.stringify(text)}: ${entry.why}`;
    if (entry.host === HOST_LOOPBACK) return `${HOST_LOOPBACK} has a meaning of its own here`;
    if (entry.port !== undefined) {
      out.allow.push(text);
      continue;
    }
    out.allow.push(text, `${text.includes(':') && !text.startsWith('[') ? `[${text}]` : text}:80`);
    out.notes.push(`network.allowedDomains: ${text} meant every port; here it is 443 (TLS) and 80 (HTTP)`);
  }
  return undefined;
}

function deniedDomains(hosts: readonly string[], out: SrtOutput): string | undefined {
  for (const text of hosts) {
    const entry = parseHostEntry(text, 'deny');
    if (!entry.ok) return `${JSON.stringify(text)}: ${entry.why}`;
    out.deny.push({ host: entry.host, ...(entry.port === undefined ? {} : { ports: [entry.port] }) });
  }
  return undefined;
}

function deniedReasons(reasons: readonly HostReason[], out: SrtOutput): string | undefined {
  for (const { host, reason } of reasons) {
    const entry = parseHostEntry(host, 'deny');
    const rules = entry.ok
      ? out.deny.filter((rule) => rule.host === entry.host && rule.ports?.[0] === entry.port)
      : [];
    if (rules.length === 0) return `${JSON.stringify(host)} is not in deniedDomains`;
    for (const rule of rules) rule.reason = reason;
  }
  return undefined;
}

/** A trailing `/**` says the same as the directory. */
function pathsInto(paths: readonly SrtPath[], list: string[], kind: 'any' | 'tree'): string | undefined {
  for (const { path, literal } of paths) {
    const tree = path.replace(/\/\*\*\/?$/, '');
    if (literal && isGlob(path))
      return `${JSON.stringify(path)}: write literal names with pattern characters by hand, as { path, literal: true }`;
    if (kind === 'tree' && isGlob(tree))
      return `${JSON.stringify(path)}: a pattern grants nothing here; name the directory`;
    list.push(kind === 'tree' ? tree : path);
  }
  return undefined;
}

function allowRead(paths: readonly SrtPath[], out: SrtOutput): string | undefined {
  const isReopened = (path: string): boolean =>
    out.denyPaths.some((denied) => path === denied || path.startsWith(`${denied.replace(/\/+$/, '')}/`));
  const inside = paths.find(({ path }) => isReopened(path));
  if (inside !== undefined)
    return `${JSON.stringify(inside.path)} re-opens a part of denyRead; here a denial is final, so deny less instead`;
  return pathsInto(paths, out.read, 'tree');
}

function credentialFiles(
  entries: readonly Readonly<Record<string, unknown>>[],
  out: SrtOutput,
): string | undefined {
  for (const { path, mode } of entries) {
    if (typeof path !== 'string') return 'each entry needs a path';
    if (mode !== 'deny') return `${JSON.stringify(path)}: ${BROKER}`;
    out.denyPaths.push(path);
  }
  return undefined;
}

function credentialVariables(
  entries: readonly Readonly<Record<string, unknown>>[],
  out: SrtOutput,
): string | undefined {
  for (const { name, mode } of entries) {
    if (typeof name !== 'string') return 'each entry needs a name';
    if (mode !== 'deny') return `${JSON.stringify(name)}: ${BROKER}`;
    out.notes.push(
      `credentials.envVars: ${name} stays outside, as every variable that process.env does not name`,
    );
  }
  return undefined;
}
