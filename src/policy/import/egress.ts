import { isGloveboxError } from '../../base/errors.ts';
import type { PolicyProblem } from '../problems.ts';
import { ALIASES } from './egress-aliases.ts';
import type { SourceFor } from './egress-credentials.ts';
import { emptyOutput, type EgressOutput } from './egress-hosts.ts';
import { NATIVE_KEYS, readNative } from './egress-native.ts';
import { EgressReader, type EgressProblem } from './egress-reader.ts';
import { loadDocument } from './load-document.ts';
import { isMapping } from './srt-shapes.ts';

export type EgressImport =
  | {
      readonly ok: true;
      /** A policy document of ours, which loads. */
      readonly document: object;
      /** What a reader should know. */
      readonly notices: readonly string[];
    }
  | { readonly ok: false; readonly problems: readonly EgressProblem[] };

/**
 * Translates network settings of a gateway or of another sandbox: the native form (a superset of srt's `network`), E2B, Vercel,
 * Cloudflare, Deno. Every key is carried over, or refused by its name: a restriction that vanished on the way would be a hole.
 * What comes out is loaded once, so that nothing is handed out that would be refused later.
 */
export function importEgress(value: unknown): EgressImport {
  const reader = new EgressReader();
  const out = emptyOutput();
  readShape(reader, value, out);
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  const document = documentOf(out);
  const problems = loadProblems(document);
  return problems.length > 0 ? { ok: false, problems } : { ok: true, document, notices: reader.notices };
}

/** The native form alone, with a source for every credential that names none; the problems are the reader's. */
export function translateNative(
  value: unknown,
  sourceFor: SourceFor,
): {
  readonly document: object;
  readonly problems: readonly EgressProblem[];
  readonly notices: readonly string[];
} {
  const reader = new EgressReader();
  const out = emptyOutput();
  readNative(reader, value, out, sourceFor);
  return { document: documentOf(out), problems: reader.problems, notices: reader.notices };
}

function readShape(reader: EgressReader, value: unknown, out: EgressOutput): void {
  if (typeof value === 'string') {
    if (reader.word(value, [], ['allow-all', 'deny-all']) === 'allow-all') out.mode = 'all';
    return;
  }
  const keys = isMapping(value) ? Object.keys(value) : [];
  const found = ALIASES.filter((alias) => alias.telling.some((key) => keys.includes(key)));
  const [alias, other] = found;
  if (alias === undefined) {
    readNative(reader, value, out);
    return;
  }
  const native = keys.filter((key) => NATIVE_KEYS.includes(key) && !alias.keys.includes(key));
  if (other !== undefined || native.length > 0)
    reader.fail([], {
      expected: 'the keys of one product',
      why: `${[...found.map((one) => one.name), ...native].join(' and ')} are mixed`,
    });
  const written = reader.mapping(value, [], alias.keys);
  if (written !== undefined && other === undefined) alias.read(reader, written, out);
}

function documentOf(out: EgressOutput): object {
  const isEmpty = (value: object): boolean => Object.keys(value).length === 0;
  return {
    version: 1,
    network: {
      ...(out.mode === undefined ? {} : { mode: out.mode }),
      allow: out.allow,
      ...(isEmpty(out.deny) ? {} : { deny: out.deny }),
      ...out.settings,
    },
    ...(isEmpty(out.credentials) ? {} : { credentials: out.credentials }),
  };
}

function loadProblems(document: object): readonly EgressProblem[] {
  try {
    loadDocument(document);
    return [];
  } catch (error) {
    if (!isGloveboxError(error)) throw error;
    const found: unknown = error.context?.['problems'];
    if (!Array.isArray(found)) return [{ path: [], key: '', why: error.message }];
    return found.map((problem: PolicyProblem) => {
      const { position: _position, key, ...facts } = problem;
      return { path: [], key: `translated ${key}`, ...facts };
    });
  }
}
