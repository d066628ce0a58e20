import { problemsError } from '../problems.ts';
import { translateNative } from './egress.ts';
import type { SourceFor } from './egress-credentials.ts';
import { loadDocument, type LoadedDocument } from './load-document.ts';
import { isMapping } from './srt-shapes.ts';

type Mapping = Readonly<Record<string, unknown>>;

/** Named native network forms, which may build on one another: `{ extends, patch: { "rules.api.tls": … } }`. */
export type EgressPolicies = Readonly<Record<string, unknown>>;

export interface EgressPolicy extends LoadedDocument {
  /** Our document that it was loaded from. */
  readonly document: object;
  /** Keys of the native form that our language has no equal for; they were left out. */
  readonly missing: readonly string[];
}

/**
 * One of several named native forms as our resolved policy. Unlike an import it leaves out what has no equal and says so, because a
 * test wants to judge the rest. Credentials that a pin names and nobody defines are defined for that host.
 *
 * @param sourceFor where the secret of a credential comes from, as our language writes it: `env:NAME`, or the parts of an AWS key
 * @throws E_POLICY_INVALID when what is left does not load
 */
export function translatePolicy(policies: EgressPolicies, name: string, sourceFor: SourceFor): EgressPolicy {
  const written = withCredentials(withoutContradictions(expandPolicy(policies, name)));
  const missing: string[] = [];
  let form: Mapping = written;
  let result = translateNative(form, sourceFor);
  // Each round leaves out the places that the one before complained about.
  for (let round = 0; result.problems.length > 0 && round < 10; round++) {
    missing.push(...result.problems.map((problem) => problem.key));
    for (const problem of result.problems) form = without(form, problem.path);
    result = translateNative(form, sourceFor);
  }
  if (result.problems.length > 0) throw problemsError(result.problems);
  return { ...loadDocument(result.document), document: result.document, missing: [...new Set(missing)] };
}

/** A named form with what it extends and its patch applied. */
export function expandPolicy(policies: EgressPolicies, name: string): Mapping {
  const written = policies[name];
  if (!isMapping(written)) return {};
  const { extends: base, patch, note: _note, ...own } = written;
  const from = typeof base === 'string' ? expandPolicy(policies, base) : {};
  const whole = { ...from, ...own };
  return isMapping(patch) ? Object.entries(patch).reduce(applyPatch, whole) : whole;
}

/** `rules.api.tls`: the rule is named by its id. */
function applyPatch(form: Mapping, [key, value]: readonly [string, unknown]): Mapping {
  const [head = '', ...rest] = key.split('.');
  if (rest.length === 0) return { ...form, [head]: value };
  const inner = form[head];
  if (Array.isArray(inner)) {
    const [id, ...deeper] = rest;
    return {
      ...form,
      [head]: inner.map((item: unknown) =>
        isMapping(item) && item['id'] === id ? applyPatch(item, [deeper.join('.'), value]) : item,
      ),
    };
  }
  return { ...form, [head]: applyPatch(isMapping(inner) ? inner : {}, [rest.join('.'), value]) };
}

const INSIDE: ReadonlySet<string> = new Set([
  'allow',
  'deny',
  'pin',
  'credentials',
  'body',
  'requestHeaders',
  'transform',
  'dlp',
  'http2',
]);

/** A patch may make a rule opaque that says what passes inside: then it says nothing. */
function withoutContradictions(form: Mapping): Mapping {
  const rules = Array.isArray(form['rules']) ? form['rules'] : [];
  return {
    ...form,
    rules: rules.map((rule: unknown) => {
      if (!isMapping(rule) || rule['tls'] !== 'passthrough') return rule;
      return Object.fromEntries(Object.entries(rule).filter(([key]) => !INSIDE.has(key)));
    }),
  };
}

/** Defines what a pin names and nobody defines: for that host, in the places of the pin. */
function withCredentials(form: Mapping): Mapping {
  const rules = Array.isArray(form['rules']) ? form['rules'] : [];
  const defined = isMapping(form['credentials']) ? form['credentials'] : {};
  const found: Record<string, unknown> = {};
  for (const rule of rules) {
    const pin = isMapping(rule) && isMapping(rule['pin']) ? rule['pin'] : {};
    const name = pin['credential'];
    if (!isMapping(rule) || typeof name !== 'string' || Object.hasOwn(defined, name)) continue;
    found[name] = { hosts: [rule['host']], in: pin['in'] };
  }
  const all = { ...found, ...defined };
  return Object.keys(all).length === 0 ? form : { ...form, credentials: all };
}

/** The form without what stands at a path. */
function without(form: Mapping, path: readonly (string | number)[]): Mapping {
  const removed: unknown = remove(form, path);
  return isMapping(removed) ? removed : {};
}

function remove(value: unknown, [head, ...rest]: readonly (string | number)[]): unknown {
  if (head === undefined) return undefined;
  if (Array.isArray(value)) {
    const index = Number(head);
    return rest.length === 0
      ? value.filter((_item, i) => i !== index)
      : value.map((item: unknown, i) => (i === index ? remove(item, rest) : item));
  }
  if (!isMapping(value)) return value;
  const key = String(head);
  const { [key]: inner, ...others } = value;
  return rest.length === 0 || inner === undefined ? others : { ...others, [key]: remove(inner, rest) };
}
