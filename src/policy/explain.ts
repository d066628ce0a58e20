import { printablePath } from '../base/path-bytes.ts';
import type { LayerInfo, NetworkDeny, NetworkRule, Origin, PathRule, Policy } from './contract.ts';
import { printable } from './problems.ts';
import { formatScalar } from './scalars.ts';
import { policyScalars } from './scalar-view.ts';
import { askText, proxyText } from './network-settings.ts';
import { credentialText, dlpText, hostText, requestLines } from './rule-text.ts';

export interface ExplainOptions {
  /** Where each line came from, and why. */
  readonly sources: boolean;
}

interface Row {
  readonly text: string;
  readonly origin?: Origin;
}

/** A policy as text for people: every grant, guard and limit on a line of its own. */
export function explainPolicy(policy: Policy, options: ExplainOptions): string {
  const section = (title: string, rows: readonly Row[]): string =>
    [
      title,
      ...(rows.length === 0
        ? ['  nothing']
        : rows.map((row) => `  ${row.text}${options.sources ? sourceText(row.origin) : ''}`)),
    ].join('\n');
  return [
    section('layers', policy.layers.map(layerRow)),
    section('settings', settingRows(policy)),
    section('files', fileRows(policy)),
    section('guarded', guardRows(policy, options)),
    section('network', networkRows(policy, options)),
    section('environment', envRows(policy)),
    section(
      'credentials',
      policy.credentials.map((entry) => ({ text: credentialText(entry), origin: entry.origin })),
    ),
    ...Object.keys(policy.reserved).map((name) => section(name, [{ text: 'set' }])),
    '',
  ].join('\n\n');
}

/** ` ← file:line:column (profile:node: why)`. */
function sourceText(origin: Origin | undefined): string {
  if (origin === undefined) return '';
  const { position, profile, why } = origin;
  const place =
    position === undefined
      ? origin.layer
      : profile === undefined
        ? `${printablePath(position.file)}:${position.line}:${position.column}`
        : `${profile}:${position.line}`;
  const layer = profile === undefined || origin.layer === 'built-in' ? '' : ` by ${origin.layer}`;
  return `  <- ${place}${layer}${why === undefined ? '' : `: ${printable(why)}`}`;
}

function rowOf(text: string, origin: Origin | undefined): Row {
  return origin === undefined ? { text } : { text, origin };
}

function layerRow(info: LayerInfo): Row {
  const file = info.file === undefined ? '' : `  ${printablePath(info.file)}`;
  const hash = info.sha256 === undefined ? '' : `  sha256 ${info.sha256.slice(0, 16)}`;
  return { text: `${info.layer.padEnd(12)} ${info.state.padEnd(9)}${file}${hash}`.trimEnd() };
}

function settingRows(policy: Policy): readonly Row[] {
  const { limits } = policy;
  const unsaid = policy.driver === undefined ? ', unless GLOVEBOX_DRIVER names another' : '';
  const rows = policyScalars(policy).map(({ key, value }) => {
    const text = `${key.padEnd(24)} ${printable(formatScalar(key, value))}`;
    return rowOf(key === 'driver' ? `${text}${unsaid}` : text, policy.sources?.[key]);
  });
  return limits.require.length === 0
    ? rows
    : [...rows, { text: `${'limits.require'.padEnd(24)} ${limits.require.join(', ')}` }];
}

function fileRows(policy: Policy): readonly Row[] {
  const { filesystem } = policy;
  const how = filesystem.workspaceWritable ? 'write' : 'read';
  return [
    { text: `${how.padEnd(8)} ${printablePath(filesystem.workspace)} (workspace)` },
    ...pathRows('write', filesystem.write),
    ...pathRows('read', filesystem.read),
  ];
}

function guardRows(policy: Policy, options: ExplainOptions): readonly Row[] {
  const { deny, protect, unprotect } = policy.filesystem;
  const builtIn = (rule: PathRule): boolean => rule.origin.layer === 'built-in';
  const shown = options.sources ? protect : protect.filter((rule) => !builtIn(rule));
  const hidden = protect.length - shown.length;
  const more = hidden === 0 ? [] : [{ text: `protect  ${hidden} built-in names (shown with --sources)` }];
  return [
    ...pathRows('deny', deny),
    ...pathRows('protect', shown),
    ...more,
    ...pathRows('lifted', unprotect),
  ];
}

function pathRows(action: string, rules: readonly PathRule[]): readonly Row[] {
  return rules.map((rule) => ({
    text: `${action.padEnd(8)} ${printablePath(rule.path)}${rule.optional && rule.origin.layer !== 'built-in' ? ' (where it exists)' : ''}`,
    origin: rule.origin,
  }));
}

function networkRows(policy: Policy, options: ExplainOptions): readonly Row[] {
  const deny = policy.network.deny.map((rule): Row => ({
    text: `deny     ${denyText(rule)}`,
    origin: rule.origin,
  }));
  return [
    ...deny,
    ...policy.network.allow.flatMap((rule) => allowRows(rule, options)),
    ...settingsRows(policy),
  ];
}

function allowRows(rule: NetworkRule, options: ExplainOptions): readonly Row[] {
  const { requests, ...rest } = rule;
  const plain = hostText(rest);
  const lines = requests === undefined ? [] : requestLines(requests, options.sources);
  return [
    {
      text: `allow    ${requests === undefined ? plain : plain.replace(/\)$/, ', inspected)')}`,
      origin: rule.origin,
    },
    ...lines.map((line) => ({ text: `           ${line}` })),
  ];
}

function settingsRows({ network }: Policy): readonly Row[] {
  const { dlp, ask, parentProxy, trust = [] } = network;
  return [
    ...(dlp === undefined ? [] : [{ text: `dlp      ${dlpText(dlp)}` }]),
    ...(ask === undefined ? [] : [{ text: `ask      ${askText(ask)}` }]),
    ...(parentProxy === undefined ? [] : [{ text: `proxy    ${printable(proxyText(parentProxy))}` }]),
    ...trust.map((file) => ({ text: `trust    ${printablePath(file)}` })),
  ];
}

/** `host:22 (reason)`; a host alone is denied on every port. */
export function denyText(rule: NetworkDeny): string {
  const ports = rule.ports === undefined ? '' : `:${rule.ports.join(',')}`;
  return `${rule.host}${ports}${rule.reason === undefined ? '' : ` (${printable(rule.reason)})`}`;
}

function envRows(policy: Policy): readonly Row[] {
  const row = (name: string, text: string): Row => rowOf(text, policy.sources?.[`process.env.${name}`]);
  return [
    ...policy.process.envPass.map((name) => row(name, `pass     ${name}`)),
    ...Object.entries(policy.process.envSet).map(([name, value]) =>
      row(name, `set      ${name}=${printable(value)}`),
    ),
  ];
}
