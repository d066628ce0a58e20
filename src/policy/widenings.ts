import { canonicalJson } from '../base/canonical-json.ts';
import { printablePath } from '../base/path-bytes.ts';
import type { AskPolicy, CredentialPolicy, NetworkRule, Origin, ParentProxyPolicy } from './contract.ts';
import { coverGap, inTrees } from './covers.ts';
import { decidingRules } from './deciding.ts';
import type { EnvRule, Fragment, Located } from './layer-types.ts';
import { askCovers, askText, proxyText } from './network-settings.ts';
import { printable } from './problems.ts';
import { credentialText, hostText } from './rule-text.ts';
import { filterScalars, formatScalar, mergeScalars, scalarOf, widens } from './scalars.ts';

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
    const { read, write, unprotect, allow, env, credentials, reserved, ask, parentProxy, ...rest } = fragment;
    return {
      ...rest,
      scalars: this.#scalars(fragment),
      ...(ask === undefined || !this.#question(ask) ? {} : { ask }),
      ...(parentProxy === undefined || !this.#proxy(parentProxy) ? {} : { parentProxy }),
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
            credentials: credentials.filter((rule) => this.#credential(rule)),
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
      if (!widens(key, before, asked.value)) return true;
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
    const gap = coverGap(decidingRules(this.#mine.map((layer) => layer.allow ?? [])), rule);
    if (gap === undefined) return true;
    const { id: _id, origin, ...meaning } = rule;
    const yours = gap.closest === undefined ? '' : `; yours says: ${printable(gap.why)}`;
    return this.#ask(['allow', meaning], `reaches ${hostText(rule)}${yours}`, origin);
  }

  #credential(rule: CredentialPolicy): boolean {
    const meaning = credentialMeaning(rule);
    const mine = this.#mine
      .flatMap((layer) => layer.credentials ?? [])
      .findLast(({ name }) => name === rule.name);
    if (mine !== undefined && canonicalJson(credentialMeaning(mine)) === canonicalJson(meaning)) return true;
    const verb = mine === undefined ? 'defines' : 'replaces your';
    return this.#ask(['credential', meaning], `${verb} credential ${credentialText(rule)}`, rule.origin);
  }

  #question(asked: Located<AskPolicy | null>): boolean {
    const mine = this.#mine.findLast((layer) => layer.ask !== undefined)?.ask?.value;
    if (askCovers(mine, asked.value)) return true;
    return this.#ask(
      ['ask', asked.value],
      `asks about unknown hosts, where they were refused: ${askText(asked.value)}`,
      asked.origin,
    );
  }

  #proxy(asked: Located<ParentProxyPolicy>): boolean {
    const mine = this.#mine.findLast((layer) => layer.parentProxy !== undefined)?.parentProxy?.value;
    if (mine !== undefined && canonicalJson(mine) === canonicalJson(asked.value)) return true;
    return this.#ask(
      ['parentProxy', asked.value],
      `sends connections through ${printable(proxyText(asked.value))}`,
      asked.origin,
    );
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

/** What a credential says, wherever it stands. */
export function credentialMeaning({ origin: _origin, ...meaning }: CredentialPolicy): object {
  return meaning;
}
