import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type Pair,
  type YAMLMap,
} from 'yaml';
import type { SourcePosition } from '../base/errors.ts';
import { problemsError, quoteValue, type PolicyProblem } from './problems.ts';

/** One step into a document: a key, or the index in a list. */
export type PathStep = string | number;

/** A parsed policy file: plain values, and where each stands. */
export interface ParsedFile {
  readonly file: string;
  readonly value: unknown;
  /** Position of the value at a path, or of its nearest parent that stands in the file. */
  at(path: readonly PathStep[]): SourcePosition;
  /** Position of a key itself. */
  keyAt(path: readonly PathStep[]): SourcePosition;
}

/** Values in one file, aliases counted each time they are used: more is an attack ("billion laughs"). */
const MAX_NODES = 50_000;
/** Nesting: the language itself needs seven. */
const MAX_DEPTH = 32;
const MAX_ERRORS = 20;

interface Reader {
  readonly file: string;
  readonly doc: Document;
  readonly lines: LineCounter;
  readonly values: Map<string, SourcePosition>;
  readonly keys: Map<string, SourcePosition>;
  readonly problems: PolicyProblem[];
  nodes: number;
}

/**
 * Parses YAML 1.2 (core schema) or JSON, which is a part of it. Refused: tags, merge keys, duplicate keys, keys that are not
 * text, more than one document, a byte order mark, invalid UTF-8, control characters.
 *
 * @throws E_POLICY_INVALID with all problems
 */
export function parsePolicyFile(file: string, bytes: Uint8Array): ParsedFile {
  const text = decode(file, bytes);
  const lines = new LineCounter();
  const doc = parseYaml(file, text, lines);
  const reader: Reader = { file, doc, lines, values: new Map(), keys: new Map(), problems: [], nodes: 0 };
  collectSyntax(reader);
  if (reader.problems.length > 0) throw problemsError(reader.problems);
  const value = readNode(reader, doc.contents, []);
  if (reader.problems.length > 0) throw problemsError(reader.problems);
  return {
    file,
    value,
    at: (path) => nearestPosition(reader, path),
    keyAt: (path) => reader.keys.get(pathKey(path)) ?? nearestPosition(reader, path),
  };
}

/** A path as people write it: `network.allow[2].host`. */
export function formatPath(path: readonly PathStep[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    const word = /^[\w$-]+$/.test(step) ? step : JSON.stringify(step);
    return text === '' ? word : `${text}.${word}`;
  }, '');
}

function decode(file: string, bytes: Uint8Array): string {
  const fail = (why: string, line = 1, column = 1): never => {
    throw problemsError([{ position: { file, line, column }, key: '', why }]);
  };
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
    fail('the file begins with a byte order mark; save it without one');
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    fail('the file is not valid UTF-8');
  }
  const bad = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u2028\u2029\ufeff]/.exec(text);
  if (bad !== null) {
    const before = text.slice(0, bad.index).split('\n');
    const code = (bad[0].codePointAt(0) ?? 0).toString(16).padStart(4, '0');
    fail(
      `it holds the control character U+${code.toUpperCase()}`,
      before.length,
      (before.at(-1)?.length ?? 0) + 1,
    );
  }
  return text;
}

function parseYaml(file: string, text: string, lineCounter: LineCounter): Document {
  try {
    return parseDocument(text, {
      version: '1.2',
      schema: 'core',
      merge: false,
      uniqueKeys: true,
      strict: true,
      prettyErrors: false,
      // 'silent' would also hide that a second document follows.
      logLevel: 'error',
      lineCounter,
    });
  } catch (error) {
    // The parser recurses: a file of brackets alone exhausts the stack.
    const why = error instanceof RangeError ? 'it is nested too deeply' : 'it cannot be parsed';
    throw problemsError([{ position: { file, line: 1, column: 1 }, key: '', why }]);
  }
}

/** Warnings count as errors: the parser warns of tags and directives that it then ignores. */
function collectSyntax(reader: Reader): void {
  for (const error of [...reader.doc.errors, ...reader.doc.warnings].slice(0, MAX_ERRORS)) {
    reader.problems.push({
      position: positionOf(reader, error.pos[0]),
      key: '',
      why: syntaxWhy(error.code, error.message),
    });
  }
}

function syntaxWhy(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'this key stands here twice';
  if (code === 'MULTIPLE_DOCS') return 'a policy is one document; remove the second "---"';
  if (code === 'TAG_RESOLVE_FAILED') return 'tags (!name) are not part of the language';
  return message.split('\n')[0] ?? message;
}

function positionOf(reader: Reader, offset: number): SourcePosition {
  const { line, col } = reader.lines.linePos(offset);
  return { file: reader.file, line: Math.max(1, line), column: Math.max(1, col) };
}

function nearestPosition(reader: Reader, path: readonly PathStep[]): SourcePosition {
  for (let length = path.length; length >= 0; length--) {
    const found = reader.values.get(pathKey(path.slice(0, length)));
    if (found !== undefined) return found;
  }
  return { file: reader.file, line: 1, column: 1 };
}

const pathKey = (path: readonly PathStep[]): string => JSON.stringify(path);

function readNode(reader: Reader, node: unknown, path: readonly PathStep[]): unknown {
  reader.nodes++;
  if (reader.nodes > MAX_NODES) return stop(reader, path, `the file holds more than ${MAX_NODES} values`);
  if (path.length > MAX_DEPTH) return stop(reader, path, 'it is nested too deeply');
  if (!isNode(node)) return null;
  if (node.range !== undefined && node.range !== null)
    reader.values.set(pathKey(path), positionOf(reader, node.range[0]));
  if (isAlias(node)) return readAlias(reader, node.source, path);
  if ('tag' in node && node.tag !== undefined)
    return stop(reader, path, 'tags (!name) are not part of the language');
  if (isMap(node)) return readMap(reader, node, path);
  if (isSeq(node)) return node.items.map((item, i) => readNode(reader, item, [...path, i]));
  return isScalar(node) ? readScalar(node.value) : null;
}

/** Aliases are read again at each use, so that the node count bounds them; a cycle runs into the depth limit. */
function readAlias(reader: Reader, source: string, path: readonly PathStep[]): unknown {
  let target: Node | undefined;
  const visit = (node: unknown): void => {
    if (isMap(node)) for (const pair of node.items) visitBoth(pair);
    if (isSeq(node)) for (const item of node.items) visit(item);
    if ((isMap(node) || isSeq(node) || isScalar(node)) && node.anchor === source) target = node;
  };
  const visitBoth = (pair: Pair): void => {
    visit(pair.key);
    visit(pair.value);
  };
  visit(reader.doc.contents);
  reader.nodes += 100;
  return target === undefined
    ? stop(reader, path, `there is no anchor &${source}`)
    : readNode(reader, target, path);
}

function readScalar(value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

function readMap(reader: Reader, map: YAMLMap, path: readonly PathStep[]): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const pair of map.items) {
    const key = isScalar(pair.key) ? pair.key.value : undefined;
    const position = isScalar(pair.key) && pair.key.range ? positionOf(reader, pair.key.range[0]) : undefined;
    if (typeof key !== 'string' || key === '<<' || key === '__proto__') {
      addKeyProblem(reader, path, key, position);
      continue;
    }
    const inner = [...path, key];
    if (position !== undefined) {
      reader.keys.set(pathKey(inner), position);
      reader.values.set(pathKey(inner), position);
    }
    result[key] = readNode(reader, pair.value, inner);
  }
  return result;
}

function addKeyProblem(
  reader: Reader,
  path: readonly PathStep[],
  key: unknown,
  position: SourcePosition | undefined,
): void {
  const why = key === '<<' ? 'merge keys (<<) are not part of the language' : 'keys must be text';
  if (reader.problems.length >= MAX_ERRORS) return;
  reader.problems.push({
    position: position ?? nearestPosition(reader, path),
    key: formatPath(path),
    found: quoteValue(key),
    why,
  });
}

function stop(reader: Reader, path: readonly PathStep[], why: string): undefined {
  if (reader.problems.length < MAX_ERRORS)
    reader.problems.push({ position: nearestPosition(reader, path), key: formatPath(path), why });
  return undefined;
}
