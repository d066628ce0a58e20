import { canonicalJson } from '../base/canonical-json.ts';
import { printablePath } from '../base/path-bytes.ts';
import type { NetworkRule, Origin } from './contract.ts';
import { coverGap, inTrees } from './covers.ts';
import type { EnvRule, Fragment } from './layer-types.ts';
import { printable } from './problems.ts';
import { filterScalars, formatScalar, mergeScalars, scalarOf, width } from './scalars.ts';

/** Something that a project policy allows and the person's own policy does not. */
export interface Widening {
  /** Identifies what is widened, whatever line it stands on: what a person accepted is remembered by it. */
  readonly key: string;
  /** One line for people. */
  readonly text: string;
  readonly origin: Origin;
}

export type AcceptWidening = (widening: Widening) => boolean;

/**
 * The project's fragments without the widenings that are not accepted. What tightens stays. One walk serves both the question
 * ("what does it widen?") and the answer ("leave out the rest"), so that nothing is granted that was not shown.
 */
export function filterProject(
  project: readonly Fragment[],
  mine: readonly Fragment[],
  facts: { readonly workspace: string; readonly accept: AcceptWidening },
): readonly Fragment[] {
  const filter = new ProjectFilter(mine, facts.workspace, facts.accept);
  return project.map((fragment) => filter.apply(fragment));
}

class ProjectFilter {
  readonly #mine: readonly Fragment[];
  readonly #workspace: string;
  readonly #accept: AcceptWidening;

  constructor(mine: readonly Fragment[], workspace: string, accept: AcceptWidening) {
    this.#mine = mine;
    this.#workspace = workspace;
    this.#accept = accept;
  }

  apply(fragment: Fragment): Fragment {
    const { read, write, unprotect, allow, env, credentials, reserved } = fragment;
    return {
      ...fragment,
      scalars: this.#scalars(fragment),
      ...(read === undefined ? {} : { read: read.filter((rule) => this.#path('read', rule)) }),
      ...(write === undefined ? {} : { write: write.filter((rule) => this.#path('write', rule)) }),
      ...(unprotect === undefined
        ? {}
        : {
            unprotect: unprotect.filter((rule) =>
              this.#ask(
                ['unprotect', rule.path],
                `makes ${printablePath(rule.path)} writable, which is protected`,
                rule.origin,
              ),
            ),
          }),
      ...(allow === undefined ? {} : { allow: allow.filter((rule) => this.#host(rule)) }),
      ...(env === undefined ? {} : { env: env.filter((rule) => this.#variable(rule)) }),
      ...(credentials === undefined
        ? {}
        : {
            credentials: credentials.filter((rule) =>
              this.#ask(
                ['credential', rule.name, rule.settings],
                `defines credential ${rule.name}`,
                rule.origin,
              ),
            ),
          }),
      ...(reserved === undefined
        ? {}
        : {
            reserved: reserved.filter((rule) =>
              this.#ask(
                ['section', rule.value.name, rule.value.settings],
                `sets section ${rule.value.name}`,
                rule.origin,
              ),
            ),
          }),
    };
  }

  #scalars(fragment: Fragment): Fragment['scalars'] {
    const mine = mergeScalars(...this.#mine.map((layer) => layer.scalars));
    return filterScalars(fragment.scalars, (key, asked) => {
      const before = scalarOf(mine, key)?.value;
      if (width(key, asked.value) <= width(key, before)) return true;
      const text = `${key} ${formatScalar(key, before)} → ${printable(formatScalar(key, asked.value))}`;
      return this.#ask(
        ['scalar', key, asked.value === Infinity ? 'unlimited' : asked.value],
        text,
        asked.origin,
      );
    });
  }

  #path(use: 'read' | 'write', rule: { readonly path: string; readonly origin: Origin }): boolean {
    const workspace = { path: this.#workspace };
    const write = this.#mine.flatMap((layer) => layer.write ?? []);
    const trees =
      use === 'write'
        ? [workspace, ...write]
        : [workspace, ...write, ...this.#mine.flatMap((layer) => layer.read ?? [])];
    if (inTrees(rule.path, trees)) return true;
    return this.#ask([use, rule.path], `${use}s ${printablePath(rule.path)}`, rule.origin);
  }

  #host(rule: NetworkRule): boolean {
    if (
      coverGap(
        this.#mine.flatMap((layer) => layer.allow ?? []),
        rule,
      ) === undefined
    )
      return true;
    const { id: _id, origin, ...meaning } = rule;
    return this.#ask(['allow', meaning], `reaches ${hostText(rule)}`, origin);
  }

  #variable(rule: EnvRule): boolean {
    const same = this.#mine.some(
      (layer) => layer.env?.some((own) => own.name === rule.name && own.value === rule.value) === true,
    );
    if (same) return true;
    const text =
      rule.value === undefined
        ? `sees your variable ${rule.name}`
        : `sets variable ${rule.name} to ${printable(JSON.stringify(rule.value.slice(0, 200)))}`;
    return this.#ask(['env', rule.name, rule.value ?? null], text, rule.origin);
  }

  #ask(meaning: readonly unknown[], text: string, origin: Origin): boolean {
    return this.#accept({ key: canonicalJson(meaning), text, origin });
  }
}

/** `*.example.com:443 (https, private addresses too)`. */
export function hostText(rule: NetworkRule): string {
  const facts: string[] = [rule.protocol];
  if (rule.private) facts.push('private addresses too');
  if (rule.allowNoSni) facts.push('TLS without a name too');
  if (rule.inspect !== undefined) facts.push(`inspected: ${printable(JSON.stringify(rule.inspect))}`);
  if (rule.budget !== undefined) facts.push(`budget ${printable(JSON.stringify(rule.budget))}`);
  return `${rule.host.includes(':') ? `[${rule.host}]` : rule.host}:${rule.ports.join(',')} (${facts.join(', ')})`;
}
