import { GraphqlLexer, GraphqlProblem } from './graphql-scan-lexer.ts';
import type { GraphqlToken } from './graphql-scan-lexer.ts';

export type GraphqlType = 'query' | 'mutation' | 'subscription';

/** One operation of a document. */
export interface GraphqlOperation {
  readonly type: GraphqlType;
  readonly name: string | undefined;
  /** Top-level fields by their real names, fragments resolved; each once. */
  readonly fields: readonly string[];
}

export type GraphqlResult =
  | { readonly ok: true; readonly operations: readonly GraphqlOperation[] }
  | { readonly ok: false; readonly why: string };

/** The longest documents that tools write are about 50 KiB (introspection is 2). */
export const GRAPHQL_CHARS_MAX = 256 * 1024;
export const GRAPHQL_TOKENS_MAX = 50_000;
export const GRAPHQL_DEPTH_MAX = 64;

/** What the top of a selection set asks for. */
interface TopLevel {
  readonly fields: Set<string>;
  readonly spreads: Set<string>;
}

interface Definition extends TopLevel {
  readonly type: GraphqlType;
  readonly name: string | undefined;
}

/**
 * Reads an executable document (GraphQL, October 2021, §2) and says what each operation asks for at its top. Type definitions, unknown or
 * repeated names and an anonymous operation beside others are problems, for servers differ on them.
 */
export function readGraphql(text: string): GraphqlResult {
  if (text.length > GRAPHQL_CHARS_MAX) return no(`over ${GRAPHQL_CHARS_MAX} characters`);
  try {
    const parser = new Parser(text);
    parser.document();
    return { ok: true, operations: resolve(parser) };
  } catch (error) {
    if (error instanceof GraphqlProblem) return no(error.message);
    throw error;
  }
}

/** The operation that a request runs (§6.1, GetOperation): the named one, or the only one. */
export function chooseOperation(
  operations: readonly GraphqlOperation[],
  name: string | undefined,
): GraphqlOperation | undefined {
  if (name !== undefined && name !== '') return operations.find((operation) => operation.name === name);
  return operations.length === 1 ? operations[0] : undefined;
}

function no(why: string): GraphqlResult {
  return { ok: false, why: `a GraphQL document with ${why}` };
}

function resolve(parser: Parser): GraphqlOperation[] {
  const { operations, fragments } = parser;
  if (operations.length === 0) throw new GraphqlProblem('no operation');
  const names = new Set(operations.map((operation) => operation.name));
  if (names.size < operations.length || (names.has(undefined) && operations.length > 1))
    throw new GraphqlProblem('operations that cannot be told apart');
  return operations.map(({ type, name, ...top }) => ({ type, name, fields: fieldsOf(top, fragments) }));
}

/** Every fragment is entered once, so that cycles and repetition cost nothing. */
function fieldsOf(top: TopLevel, fragments: ReadonlyMap<string, TopLevel>): string[] {
  const fields = new Set<string>();
  const entered = new Set<string>();
  const open = [top];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const field of next.fields) fields.add(field);
    for (const name of next.spreads) {
      if (entered.has(name)) continue;
      entered.add(name);
      const fragment = fragments.get(name);
      if (fragment === undefined) throw new GraphqlProblem('a fragment that is not there');
      open.push(fragment);
    }
  }
  return [...fields];
}

class Parser {
  readonly operations: Definition[] = [];
  readonly fragments = new Map<string, TopLevel>();
  readonly #lexer: GraphqlLexer;
  #token: GraphqlToken;
  #depth = 0;

  constructor(text: string) {
    this.#lexer = new GraphqlLexer(text, GRAPHQL_TOKENS_MAX);
    this.#token = this.#lexer.next();
  }

  document(): void {
    while (this.#token.kind !== 'end') {
      if (this.#sees('{')) this.#operation('query', undefined);
      else this.#definition(this.#name());
    }
  }

  #definition(word: string): void {
    if (word === 'fragment') return this.#fragment();
    if (word !== 'query' && word !== 'mutation' && word !== 'subscription')
      throw new GraphqlProblem('a definition that is neither an operation nor a fragment');
    const name = this.#token.kind === 'name' ? this.#name() : undefined;
    if (this.#takes('(')) this.#variables();
    this.#directives();
    this.#operation(word, name);
  }

  #operation(type: GraphqlType, name: string | undefined): void {
    this.operations.push({ type, name, ...this.#top() });
  }

  #fragment(): void {
    const name = this.#name();
    if (name === 'on' || this.fragments.has(name)) throw new GraphqlProblem('a fragment of a wrong name');
    this.#word('on');
    this.#name();
    this.#directives();
    this.fragments.set(name, this.#top());
  }

  #top(): TopLevel {
    const top: TopLevel = { fields: new Set(), spreads: new Set() };
    this.#selectionSet(top);
    return top;
  }

  /** `top` is given for the top level and for inline fragments in it. */
  #selectionSet(top: TopLevel | undefined): void {
    this.#enter();
    this.#expect('{');
    do this.#selection(top);
    while (!this.#takes('}'));
    this.#depth--;
  }

  #selection(top: TopLevel | undefined): void {
    if (this.#takes('...')) return this.#spread(top);
    let field = this.#name();
    if (this.#takes(':')) field = this.#name();
    top?.fields.add(field);
    if (this.#takes('(')) this.#arguments();
    this.#directives();
    if (this.#sees('{')) this.#selectionSet(undefined);
  }

  #spread(top: TopLevel | undefined): void {
    if (this.#token.kind === 'name' && this.#token.text !== 'on') {
      top?.spreads.add(this.#name());
      return this.#directives();
    }
    if (this.#token.kind === 'name') {
      this.#word('on');
      this.#name();
    }
    this.#directives();
    this.#selectionSet(top);
  }

  #variables(): void {
    do {
      this.#expect('$');
      this.#name();
      this.#expect(':');
      this.#type();
      if (this.#takes('=')) this.#value();
      this.#directives();
    } while (!this.#takes(')'));
  }

  #type(): void {
    this.#enter();
    if (this.#takes('[')) {
      this.#type();
      this.#expect(']');
    } else this.#name();
    this.#takes('!');
    this.#depth--;
  }

  #directives(): void {
    while (this.#takes('@')) {
      this.#name();
      if (this.#takes('(')) this.#arguments();
    }
  }

  #arguments(): void {
    do this.#argument();
    while (!this.#takes(')'));
  }

  #argument(): void {
    this.#name();
    this.#expect(':');
    this.#value();
  }

  #value(): void {
    this.#enter();
    if (this.#takes('$')) this.#name();
    else if (this.#takes('[')) while (!this.#takes(']')) this.#value();
    else if (this.#takes('{')) while (!this.#takes('}')) this.#argument();
    else if (this.#token.kind === 'name' || this.#token.kind === 'value') this.#advance();
    else throw new GraphqlProblem('no value where one belongs');
    this.#depth--;
  }

  #enter(): void {
    if (++this.#depth > GRAPHQL_DEPTH_MAX) throw new GraphqlProblem(`over ${GRAPHQL_DEPTH_MAX} levels`);
  }

  #advance(): void {
    this.#token = this.#lexer.next();
  }

  #name(): string {
    if (this.#token.kind !== 'name') throw new GraphqlProblem('no name where one belongs');
    const { text } = this.#token;
    this.#advance();
    return text;
  }

  #word(text: string): void {
    if (this.#name() !== text) throw new GraphqlProblem(`no "${text}" where it belongs`);
  }

  #sees(text: string): boolean {
    return this.#token.kind === 'punctuator' && this.#token.text === text;
  }

  #takes(text: string): boolean {
    if (!this.#sees(text)) return false;
    this.#advance();
    return true;
  }

  #expect(text: string): void {
    if (!this.#takes(text)) throw new GraphqlProblem(`no "${text}" where it belongs`);
  }
}
