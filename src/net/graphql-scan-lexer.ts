/** A lexical token (GraphQL, October 2021, §2.1). `value` is a number or a string, whose text nobody needs. */
export interface GraphqlToken {
  readonly kind: 'punctuator' | 'name' | 'value' | 'end';
  readonly text: string;
}

/** Leaves lexer and parser; caught where a document is read and nowhere else. */
export class GraphqlProblem extends Error {}

const END: GraphqlToken = { kind: 'end', text: 'the end' };
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_.])/y;
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;

/** Splits a document into tokens, strictly: what no grammar names is a problem, also inside comments and strings. */
export class GraphqlLexer {
  readonly #text: string;
  #at = 0;
  #left: number;

  /** Precondition: `tokensMax` bounds the work of the parser above. */
  constructor(text: string, tokensMax: number) {
    this.#text = text;
    this.#left = tokensMax;
  }

  next(): GraphqlToken {
    this.#skipIgnored();
    const char = this.#text[this.#at];
    if (char === undefined) return END;
    if (--this.#left < 0) throw new GraphqlProblem('too many tokens');
    if ('!$&():=@[]{|}'.includes(char)) return this.#punctuator(char);
    if (char === '.') {
      if (this.#text.startsWith('...', this.#at)) return this.#punctuator('...');
      throw new GraphqlProblem('a stray "."');
    }
    if (char === '"') return this.#string();
    const name = this.#match(NAME);
    if (name !== undefined) return { kind: 'name', text: name };
    if (this.#match(NUMBER) !== undefined) return { kind: 'value', text: 'a number' };
    throw new GraphqlProblem('a character that belongs to no token');
  }

  #punctuator(text: string): GraphqlToken {
    this.#at += text.length;
    return { kind: 'punctuator', text };
  }

  /** §2.1.1 to §2.1.7: blanks, line ends, comments, commas, a byte order mark. */
  #skipIgnored(): void {
    for (;;) {
      const char = this.#text[this.#at];
      if (char === '#') this.#skipComment();
      else if (char !== undefined && '\t\n\r ,\uFEFF'.includes(char)) this.#at++;
      else return;
    }
  }

  #skipComment(): void {
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || char === '\n' || char === '\r') return;
      this.#source(char);
    }
  }

  #string(): GraphqlToken {
    if (this.#text.startsWith('"""', this.#at)) return this.#blockString();
    this.#at++;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || char === '\n' || char === '\r')
        throw new GraphqlProblem('a string that does not end');
      if (char === '\\') this.#escape();
      else this.#source(char);
      if (char === '"') return { kind: 'value', text: 'a string' };
    }
  }

  #escape(): void {
    const found = this.#match(/\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,8}\})/y);
    if (found === undefined) throw new GraphqlProblem('an unknown escape');
  }

  #blockString(): GraphqlToken {
    this.#at += 3;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) throw new GraphqlProblem('a block string that does not end');
      if (this.#text.startsWith('\\"""', this.#at)) this.#at += 4;
      else if (this.#text.startsWith('"""', this.#at)) break;
      else this.#source(char);
    }
    this.#at += 3;
    return { kind: 'value', text: 'a string' };
  }

  /** A source character: no control characters but tab and line ends (§2.1). */
  #source(char: string): void {
    if (char < ' ' && !'\t\n\r'.includes(char)) throw new GraphqlProblem('a control character');
    this.#at++;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }
}
