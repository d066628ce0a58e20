import { canonicalJson } from '../base/canonical-json.ts';
import type { AskPolicy, DlpPolicy, NetworkPolicy, ParentProxyPolicy } from './contract.ts';
import type { Fragment, Located } from './layer-types.ts';
import { originAt, type FragmentSource } from './origin-at.ts';
import { resolvePath } from './path-text.ts';
import { quoteValue } from './problems.ts';
import type { NetworkWritten } from './schema-network.ts';
import { formatDuration, parseDuration, parseSize } from './units.ts';

/** Settings of the network that are neither rules nor numbers. */
export type NetworkSettings = Pick<Fragment, 'dlp' | 'parentProxy' | 'ask' | 'trust'>;

const DLP_DEFAULT: DlpPolicy = {
  action: 'deny',
  patterns: true,
  custom: [],
  canaries: [],
  decodeDepth: 2,
  maxInspectBytes: 10 * 2 ** 20,
  uninspectable: 'deny',
  names: true,
  everywhere: true,
};

const ASK_DEFAULT: AskPolicy = { timeoutMs: 30_000, pending: 8 };

/** Reads the settings of a document. */
export function networkSettings(
  written: NetworkWritten | undefined,
  source: FragmentSource,
): NetworkSettings {
  const dlp = dlpOf(written?.dlp);
  const { ask, parentProxy, trust } = written ?? {};
  return {
    ...(dlp === undefined ? {} : { dlp: { value: dlp, origin: originAt(source, ['network', 'dlp']) } }),
    ...(parentProxy === undefined
      ? {}
      : {
          parentProxy: { value: proxyOf(parentProxy), origin: originAt(source, ['network', 'parentProxy']) },
        }),
    ...(ask === undefined
      ? {}
      : { ask: { value: askOf(ask), origin: originAt(source, ['network', 'ask']) } }),
    ...(trust === undefined ? {} : { trust: trustOf(trust, source) }),
  };
}

function dlpOf(written: NetworkWritten['dlp']): DlpPolicy | undefined {
  if (written === undefined || written === false) return undefined;
  if (written === true) return DLP_DEFAULT;
  const { maxInspect, custom, action, patterns, canaries, decodeDepth, uninspectable, names, everywhere } =
    written;
  return {
    action: action ?? DLP_DEFAULT.action,
    patterns: patterns ?? DLP_DEFAULT.patterns,
    custom: (custom ?? []).map(({ name, pattern }) => ({ name, pattern })),
    canaries: canaries ?? [],
    decodeDepth: decodeDepth ?? DLP_DEFAULT.decodeDepth,
    maxInspectBytes:
      (maxInspect === undefined ? undefined : parseSize(maxInspect)) ?? DLP_DEFAULT.maxInspectBytes,
    uninspectable: uninspectable ?? DLP_DEFAULT.uninspectable,
    names: names ?? DLP_DEFAULT.names,
    everywhere: everywhere ?? DLP_DEFAULT.everywhere,
  };
}

function proxyOf(written: NonNullable<NetworkWritten['parentProxy']>): ParentProxyPolicy {
  const { url, noProxy, credential } = typeof written === 'string' ? { url: written } : written;
  return {
    url: url.replace(/\/$/, ''),
    noProxy: noProxy ?? [],
    ...(credential === undefined ? {} : { credential }),
  };
}

function askOf(written: NonNullable<NetworkWritten['ask']>): AskPolicy | null {
  if (written === false) return null;
  if (written === true) return ASK_DEFAULT;
  const timeoutMs = written.timeout === undefined ? undefined : parseDuration(written.timeout);
  return {
    timeoutMs: timeoutMs ?? ASK_DEFAULT.timeoutMs,
    pending: written.pending ?? ASK_DEFAULT.pending,
  };
}

/** Who may add a certificate authority may read all that is inspected: only the organisation and the person. */
function trustOf(written: readonly string[], source: FragmentSource): readonly Located<string>[] {
  if (source.layer !== 'organisation' && source.layer !== 'user')
    source.problems.push({
      position: source.parsed.at(['network', 'trust']),
      key: 'network.trust',
      found: quoteValue(written),
      expected: 'it in the organisation policy or in your own',
      why: `whoever adds a certificate authority could answer for every host, so the ${source.layer} layer may not`,
    });
  return written.map((file, i) => ({
    value: resolvePath(file, source.from),
    origin: originAt(source, ['network', 'trust', i]),
  }));
}

/** What holds over all layers: scanning adds up to the strictest, of other settings the last one counts. */
export function mergeSettings(
  fragments: readonly Fragment[],
  rules: NetworkPolicy['allow'],
): Pick<NetworkPolicy, 'dlp' | 'parentProxy' | 'ask' | 'trust'> {
  const dlp = mergeDlp(fragments, rules);
  const parentProxy = lastOf(fragments, (fragment) => fragment.parentProxy);
  const ask = lastOf(fragments, (fragment) => fragment.ask);
  const trust = [
    ...new Set(fragments.flatMap((fragment) => fragment.trust ?? []).map((entry) => entry.value)),
  ];
  return {
    ...(dlp === undefined ? {} : { dlp }),
    ...(parentProxy === undefined ? {} : { parentProxy }),
    ...(ask === undefined || ask === null ? {} : { ask }),
    ...(trust.length === 0 ? {} : { trust }),
  };
}

function lastOf<T>(
  fragments: readonly Fragment[],
  pick: (fragment: Fragment) => Located<T> | undefined,
): T | undefined {
  return fragments.map(pick).findLast((one) => one !== undefined)?.value;
}

/**
 * A rule that says `dlp: true` is scanned also where nobody wrote how. What a project writes only adds to that: it must not choose the
 * weaker of what was left unsaid.
 */
function mergeDlp(fragments: readonly Fragment[], rules: NetworkPolicy['allow']): DlpPolicy | undefined {
  const written = (isProject: boolean): readonly DlpPolicy[] =>
    fragments
      .filter((fragment) => (fragment.layer === 'project') === isProject)
      .flatMap((fragment) => (fragment.dlp === undefined ? [] : [fragment.dlp.value]));
  const asked = rules.some((rule) => rule.requests?.dlp === true);
  const unsaid = asked ? [{ ...DLP_DEFAULT, everywhere: false }] : [];
  const mine = written(false);
  const [first, ...rest] = [...(mine.length === 0 ? unsaid : mine), ...written(true)];
  return first === undefined ? undefined : rest.reduce(strictest, first);
}

/** The stricter of two in every part: nobody's scanning is weakened by what another layer says. */
export function strictest(a: DlpPolicy, b: DlpPolicy): DlpPolicy {
  const uninspectable = a.uninspectable === 'deny' || b.uninspectable === 'deny' ? 'deny' : 'allow';
  const seen = new Map([...a.custom, ...b.custom].map((entry) => [canonicalJson(entry), entry]));
  return {
    action: a.action === 'deny' || b.action === 'deny' ? 'deny' : 'observe',
    patterns: a.patterns || b.patterns,
    custom: [...seen.values()],
    canaries: [...new Set([...a.canaries, ...b.canaries])],
    decodeDepth: Math.max(a.decodeDepth, b.decodeDepth),
    // What cannot be looked into is refused: then less is stricter, else more is.
    maxInspectBytes:
      uninspectable === 'deny'
        ? Math.min(a.maxInspectBytes, b.maxInspectBytes)
        : Math.max(a.maxInspectBytes, b.maxInspectBytes),
    uninspectable,
    names: a.names || b.names,
    everywhere: a.everywhere || b.everywhere,
  };
}

/** True when asking as the second is no more than asking as the first. */
export function askCovers(wide: AskPolicy | null | undefined, narrow: AskPolicy | null | undefined): boolean {
  if (narrow === undefined || narrow === null) return true;
  if (wide === undefined || wide === null) return false;
  return narrow.timeoutMs <= wide.timeoutMs && narrow.pending <= wide.pending;
}

/** `ask 30s, 8 at once`. */
export function askText(ask: AskPolicy | null | undefined): string {
  if (ask === undefined || ask === null) return 'nobody is asked';
  return `waits ${formatDuration(ask.timeoutMs)} for an answer, ${ask.pending} questions at once`;
}

/** One line; the credential by name only. */
export function proxyText(proxy: ParentProxyPolicy): string {
  const direct = proxy.noProxy.length === 0 ? '' : `, directly: ${proxy.noProxy.join(' ')}`;
  return `${proxy.url}${proxy.credential === undefined ? '' : ` as ${proxy.credential}`}${direct}`;
}
