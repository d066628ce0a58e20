import { GloveboxError } from '../base/errors.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import type { Origin, PathRule, Policy } from '../policy/contract.ts';
import { ETC_ENTRIES, PROC_HIDDEN, SYSTEM_ROOTS, type BaseEntry } from './base-system.ts';
import { pathFact, realPath, tryPathFact } from './facts.ts';
import type { VisibleTree } from './survey.ts';
import { readlinkSync } from 'node:fs';

/** What the machine has of the base system and of the policy's paths: the facts a plan is made from. */
export interface ViewFacts {
  /** Entries of /proc to hide, where the kernel has them. */
  readonly hidden: readonly { readonly path: string; readonly type: 'file' | 'dir'; readonly why: string }[];
  readonly system: readonly SystemFact[];
  /** Trees named by the policy, the workspace last. */
  readonly trees: readonly VisibleTree[];
  /** Stores of certificates that the machine has. */
  readonly trust: TrustFacts;
  /** Absent: the base system is the host's. */
  readonly image?: ImageFacts;
}

/** What of an image besides its files reaches the plan. */
export interface ImageFacts {
  readonly label: string;
  readonly env: Readonly<Record<string, string>>;
  readonly shell: '/bin/bash' | '/bin/sh';
  /** Lines of its /etc/passwd and /etc/group. */
  readonly passwd: readonly string[];
  readonly group: readonly string[];
  /** The host's bundle of certificate authorities, which stands over the image's. */
  readonly bundle?: string;
}

export interface SystemFact {
  readonly path: string;
  /** Set where the host has a symlink (`/bin -> usr/bin`). */
  readonly link?: string;
  /** Set for a directory that is put together from what follows. */
  readonly dir?: true;
  /** Real source of a bind. */
  readonly source: string;
  readonly why: string;
}

/** Stores of certificates that programs read without being told. */
export const DEBIAN_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';
export const JAVA_STORE = '/etc/ssl/certs/java/cacerts';

/** Which of them the machine has. */
export interface TrustFacts {
  readonly bundle: boolean;
  readonly java: boolean;
}

/** Trees that would hand the host itself to the sandbox. */
const FORBIDDEN_TREES = ['/', '/proc', '/sys', '/dev', '/run', '/boot'];

/** Collects the facts for a view; nothing is changed. */
export function viewFacts(policy: Policy): ViewFacts {
  const system = hostSystem();
  const { filesystem } = policy;
  const trees = [
    ...filesystem.read.flatMap((rule) => ruleTree(rule, false)),
    ...filesystem.write.flatMap((rule) => ruleTree(rule, true)),
    {
      target: filesystem.workspace,
      source: filesystem.workspace,
      writable: filesystem.workspaceWritable,
      rule: 'filesystem.workspace',
    },
  ];
  return { hidden: PROC_HIDDEN.flatMap(hiddenFact), system, trees, trust: trustFacts() };
}

/** What every sandbox sees of the host's own system, as it is on this machine. */
export function hostSystem(): readonly SystemFact[] {
  return [...SYSTEM_ROOTS, ...ETC_ENTRIES].flatMap((entry) => systemFact(entry.path, entry.why));
}

function trustFacts(): TrustFacts {
  return {
    bundle: tryPathFact(DEBIAN_BUNDLE).type === 'file',
    java: tryPathFact(JAVA_STORE).type === 'file',
  };
}

function hiddenFact(entry: BaseEntry): ViewFacts['hidden'] {
  const { type } = tryPathFact(entry.path);
  return type === 'file' || type === 'dir' ? [{ path: entry.path, type, why: entry.why }] : [];
}

function systemFact(path: string, why: string): readonly SystemFact[] {
  const fact = tryPathFact(path);
  if (fact.type === 'missing') return [];
  const isRootLink = fact.type === 'symlink' && SYSTEM_ROOTS.some((entry) => entry.path === path);
  if (isRootLink) return [{ path, link: readlinkSync(path), source: path, why }];
  const source = realPath(path);
  return source === undefined ? [] : [{ path, source, why }];
}

function ruleTree(rule: PathRule, writable: boolean): readonly VisibleTree[] {
  if (rule.glob) return [];
  const source = realPath(rule.path);
  if (source === undefined) {
    if (rule.optional) return [];
    throw pathProblem(rule, writable, 'it does not exist');
  }
  if (FORBIDDEN_TREES.some((tree) => source === tree || (tree !== '/' && isWithin(source, tree)))) {
    throw pathProblem(rule, writable, `${source} belongs to the host itself and is never shared`);
  }
  if (pathFact(source).type === 'socket') {
    throw pathProblem(
      rule,
      writable,
      'it is a socket of the host: whoever reaches it acts outside the sandbox',
    );
  }
  if (pathFact(source).type === 'device') throw pathProblem(rule, writable, 'it is a device of the host');
  return [{ target: rule.path, source, writable, rule: rule.id }];
}

function pathProblem(rule: PathRule, writable: boolean, why: string): GloveboxError {
  return new GloveboxError('E_POLICY_INVALID', {
    what: `${originText(rule.origin)}cannot make ${printablePath(rule.path)} ${writable ? 'writable' : 'readable'}`,
    why,
    next: 'Correct the path, or mark it `optional: true` in the policy.',
    context: { rule: rule.id, path: rule.path },
  });
}

/** `file:line:column: ` of a rule, or nothing for the command line. */
export function originText(origin: Origin): string {
  const { position } = origin;
  return position === undefined ? '' : `${position.file}:${position.line}:${position.column}: `;
}
