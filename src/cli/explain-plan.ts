import { printablePath } from '../base/path-bytes.ts';
import type { Mount, Plan } from '../drivers/contract.ts';

/** A plan as text for people. */
export function explainPlan(
  plan: Plan,
  hashes: { readonly policyHash: string; readonly planHash: string },
): string {
  return [
    `tier       ${plan.tier}`,
    `workspace  ${printablePath(plan.workspace)}`,
    `policy     sha256 ${hashes.policyHash}`,
    `plan       sha256 ${hashes.planHash}`,
    ...section('sees', plan.view.map(viewLine)),
    ...section('guards', plan.masks.filter((mask) => mask.kind !== 'pin').map(maskLine)),
    ...section('reaches', networkLines(plan)),
    ...section('spends', limitLines(plan)),
    ...section(
      'environment',
      Object.entries(plan.env).map(([name, value]) => `${name}=${printablePath(value)}`),
    ),
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
  const { allow, deny } = plan.network.policy;
  return [
    ...deny.map((rule) => `deny     ${rule.host}  (${rule.id})`),
    ...allow.map(
      (rule) =>
        `allow    ${rule.host}:${rule.ports.join(',')} ${rule.protocol}${rule.private ? ', private addresses too' : ''}${inspectedText(rule)}  (${rule.id})`,
    ),
  ];
}

function inspectedText({ requests, ssh }: Plan['network']['policy']['allow'][number]): string {
  const keys = (ssh?.keys ?? []).length > 0 ? ', ssh keys lent' : '';
  if (requests === undefined) return keys;
  const pin = requests.pin === undefined ? '' : `, only as ${requests.pin.credential}`;
  return `${keys}, every request read${pin}${requests.enforcement === 'observe' ? ', observing' : ''}`;
}

function limitLines(plan: Plan): readonly string[] {
  return Object.entries(plan.limits)
    .filter(([name]) => name !== 'require' && name !== 'explicit')
    .map(([name, value]) => `${name} ${String(value)}`);
}
