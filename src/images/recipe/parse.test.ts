import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isGloveboxError } from '../../base/errors.ts';
import { expand, parseRecipe } from './parse.ts';

const parse = (text: string): unknown =>
  parseRecipe(text, 'R').map(({ at, ...rest }) => ({ ...rest, at: `${at.line}:${at.column}` }));

function problem(text: string): string {
  try {
    parseRecipe(text, 'R');
    return 'fine';
  } catch (error) {
    return isGloveboxError(error) ? `${error.what} | ${error.next}` : String(error);
  }
}

describe('parseRecipe', () => {
  it('reads every instruction, comments and continued lines', () => {
    const text =
      '# base\nfrom python\n\nENV A=1 B="two words" \\\n  # inside\n  C=\'$x\'\nENV D plain text\nWORKDIR /app\n  COPY a b c/\nRUN one && \\\n two\nRUN ["sh", "-c", "x y"]\n';
    expect(parse(text)).toEqual([
      { kind: 'FROM', name: 'python', at: '2:6' },
      {
        kind: 'ENV',
        values: [
          ['A', '1'],
          ['B', 'two words'],
          ['C', '$x'],
        ],
        at: '4:1',
      },
      { kind: 'ENV', values: [['D', 'plain text']], at: '7:1' },
      { kind: 'WORKDIR', path: '/app', at: '8:9' },
      { kind: 'COPY', from: ['a', 'b'], to: 'c/', at: '9:8' },
      { kind: 'RUN', command: 'one &&  two', at: '10:1' },
      { kind: 'RUN', command: ['sh', '-c', 'x y'], at: '12:1' },
    ]);
  });

  it.each([
    ['', 'R:1:1: a recipe begins with FROM'],
    ['RUN x', 'R:1:1: a recipe begins with FROM'],
    ['FROM a\nFORM b', 'R:2:1: there is no instruction FORM | Did you mean FROM?'],
    ['FROM a\n  CPOY x y', 'R:2:3: there is no instruction CPOY | Did you mean COPY?'],
    ['FROM a\nFROM b', 'R:2:6: a recipe has one FROM'],
    ['FROM a AS b', 'R:1:6: FROM takes the name of one image'],
    ['FROM a\nUSER root', "R:2:1: USER is not part of a recipe: a sandbox's user is its own"],
    ['FROM a\nCOPY --from=x a b', 'R:2:6: COPY has no options here'],
    ['FROM a\nCOPY a', 'R:2:6: COPY takes a source and a destination'],
    ['FROM a\nCOPY a b c', 'R:2:6: the destination of several sources is a directory | Did you mean c/?'],
    ['FROM a\nENV A=1 B', 'R:2:8: ENV takes NAME=value'],
    ['FROM a\nENV A="x', 'R:2:5: ENV takes NAME=value'],
    ['FROM a\nRUN ["x", 1]', 'R:2:5: a list is JSON'],
    ['FROM a\nRUN', 'R:2:1: RUN says nothing'],
  ])('%j: %s', (text, expected) => {
    expect(problem(text)).toContain(expected);
  });

  it('answers any text with instructions or with one error of its own', () => {
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom('FROM a', 'ENV A=1', 'ENV A="', 'RUN [', 'COPY a b', '\\', 'ENV A=\\', '#'),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        expect(problem(lines.join('\n'))).toMatch(/^(?:fine$|R:\d+:\d+: )/);
      }),
    );
  });
});

describe('expand', () => {
  it('puts variables in, and nothing where there is none', () => {
    const env = { A: '1', LONG: 'x y' };
    expect(expand(String.raw`$A-${'${LONG}'}-$NO-\$A-$`, env)).toBe('1-x y--$A-$');
  });

  it('takes nothing from the prototype', () => {
    expect(expand('$constructor', {})).toBe('');
  });
});
