import { printablePath } from '../base/path-bytes.ts';
import type { Mount, Plan } from '../drivers/contract.ts';
import type { CredentialPolicy } from '../policy/contract.ts';
import { askText, proxyText } from '../policy/network-settings.ts';
import { dlpText } from '../policy/rule-text.ts';

/** A plan as text for people. */
export function explainPlan(
  plan: Plan,
  facts: {
    readonly policyHash: string;
    readonly planHash: string;
    readonly credentials: readonly CredentialPolicy[];
  },
): string {
  return [
    `tier       ${plan.tier}`,
    `driver     ${plan.driver}`,
    `workspace  ${printablePath(plan.workspace)}`,
    `policy     sha256 ${facts.policyHash}`,
    `plan       sha256 ${facts.planHash}`,
    ...section('sees', plan.view.map(viewLine)),
    ...section('guards', plan.masks.filter((mask) => mask.kind !== 'pin').map(maskLine)),
    ...section('reaches', networkLines(plan)),
    ...section('spends', [...limitLines(plan), ...budgetLines(plan)]),
    ...section('environment', [
      ...Object.entries(plan.env).map(([name, value]) => `${name}=${printablePath(value)}`),
      ...facts.credentials.flatMap(placeholderLines),
    ]),
    ...section('system calls', [
      `profile ${plan.syscalls.profile}${plan.syscalls.nesting ? ', nested namespaces allowed' : ''}`,
    ]),
    '',
  ].join('\n');
}

function section(title: string, rows: readonly string[]): readonly string[] {
  return ['', title, ...(rows.length === 0 ? ['  nothing'] : rows.map((row) => `  ${row}`))];
}

function viewLine(mount: Mount): string {
  const what = mount.kind === 'bind' ? (mount.writable ? 'write' : 'read') : mount.kind;
  return `${what.padEnd(8)} ${printablePath(mount.target)}  (${mount.why})`;
}

function maskLine(mask: Plan['masks'][number]): string {
  const what = mask.kind === 'hide' || mask.deny ? 'hidden' : 'frozen';
  return `${what.padEnd(8)} ${printablePath(mask.path)}${mask.kind === 'placeholder' ? ' (absent, kept absent)' : ''}  (${mask.rule})`;
}

function networkLines(plan: Plan): readonly string[] {
  const { allow, deny, dlp, ask, parentProxy } = plan.network.policy;
  return [
    ...deny.map((rule) => `deny     ${rule.host}  (${rule.id})`),
    ...allow.map(
      (rule) =>
        `allow    ${rule.host}:${rule.ports.join(',')} ${rule.protocol}${rule.private ? ', private addresses too' : ''}${inspectedText(rule)}  (${rule.id})`,
    ),
    ...(dlp === undefined ? [] : [`dlp      ${dlpText(dlp)}`]),
    ...(ask === undefined ? [] : [`ask      ${askText(ask)}`]),
    ...(parentProxy === undefined ? [] : [`proxy    ${printablePath(proxyText(parentProxy))}`]),
  ];
}

/** The secret is not looked up here. */
function placeholderLines({ name, expose }: CredentialPolicy): readonly string[] {
  return Object.keys(expose.env).map((variable) => `${variable}=(a placeholder of credential ${name})`);
}

function inspectedText({ requests, ssh }: Plan['network']['policy']['allow'][number]): string {
  const keys = (ssh?.keys ?? []).length > 0 ? ', ssh keys lent' : '';
  if (requests === undefined) return keys;
  const pin = requests.pin === undefined ? '' : `, only as ${requests.pin.credential}`;
  return `${keys}, every request read${pin}${requests.enforcement === 'observe' ? ', observing' : ''}`;
}

function budgetLines(plan: Plan): readonly string[] {
  const { budget, overBudget } = plan.network.policy;
  const lines = Object.entries(budget).map(([name, value]) => `network ${name} ${String(value)}`);
  return overBudget === 'pause' && lines.length > 0
    ? [...lines, 'network over budget: everything inside is stopped']
    : lines;
}

function limitLines(plan: Plan): readonly string[] {
  return Object.entries(plan.limits)
    .filter(([name]) => name !== 'require' && name !== 'explicit')
    .map(([name, value]) => `${name} ${String(value)}`);
}
