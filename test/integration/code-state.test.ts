import { expect, it } from 'vitest';
import type { CodeLanguage } from '../../src/index.ts';
import { describeTiers, text } from '../support/code.ts';

const LANGUAGES: readonly CodeLanguage[] = ['python', 'javascript', 'typescript', 'bash'];

describeTiers('a code context', (box) => {
  it.each<[CodeLanguage, string, string, string]>([
    ['python', 'import math\nn = 20', 'def f(x): return x + math.floor(2.5)', 'print(f(n))'],
    ['javascript', 'const n = 20; let m = 1', 'function f(x) { return x + m; } m = 2', 'console.log(f(n))'],
    ['typescript', 'const n: number = 20', 'enum E { Two = 2 }', 'console.log((n as number) + E.Two)'],
    ['bash', 'n=20; export M=2; cd /tmp', 'f() { echo $(($1 + M)); }', 'f $n; test $PWD = /tmp'],
  ])('%s keeps what earlier cells made', async (language, ...codes) => {
    const all = await box.each(language, codes);
    expect(all.map((one) => one.error ?? one.exitCode ?? 0)).toEqual([0, 0, 0]);
    expect(all.map((one) => one.executionCount)).toEqual([1, 2, 3]);
    expect(text(all.at(-1)?.logs.stdout ?? [])).toBe('22\n');
  });

  it('two contexts of a language share nothing, calls that name none share one', async () => {
    const { sandbox } = box;
    await sandbox.runCode('x = 1');
    expect((await sandbox.runCode('x')).text).toBe('1');
    expect((await box.cells('python', ['x'])).error).toMatchObject({ name: 'NameError' });
  });

  it.each<[CodeLanguage, string, readonly string[]]>([
    [
      'python',
      'import sys, time\nfor i in range(3):\n  print("o", i); time.sleep(0.05)\n  print("e", i, file=sys.stderr); time.sleep(0.05); display(i); time.sleep(0.05)',
      ['o 0', 'e 0', '0', 'o 1', 'e 1', '1', 'o 2', 'e 2', '2'],
    ],
    [
      'javascript',
      'const nap = () => new Promise((done) => setTimeout(done, 50)); for (const i of [0, 1]) { console.log("o", i); await nap(); console.error("e", i); await nap(); display(i); await nap(); }',
      ['o 0', 'e 0', '0', 'o 1', 'e 1', '1'],
    ],
    [
      'bash',
      'for i in 0 1; do echo o $i; sleep 0.05; echo e $i >&2; sleep 0.05; done',
      ['o 0', 'e 0', 'o 1', 'e 1'],
    ],
  ])('%s: output and results come as they happen and in order', async (language, code, expected) => {
    const seen: string[] = [];
    const note = (piece: string): void => void seen.push(piece.trim());
    const execution = await box.cells(language, [code], {
      onStdout: note,
      onStderr: note,
      onResult: (result) => note(result.text ?? ''),
    });
    expect(execution.error).toBeUndefined();
    expect(seen).toEqual(expected);
  });

  it.each<[CodeLanguage, string, Readonly<Record<string, unknown>>, RegExp]>([
    [
      'python',
      'def f(k):\n  return {}[k]\ntry:\n  f("one")\nexcept KeyError as e:\n  raise ValueError("two") from e',
      { name: 'ValueError', value: 'two' },
      /<cell 1>", line 2, in f\n.*return \{\}\[k\][^]*KeyError: 'one'[^]*direct cause[^]*ValueError: two/,
    ],
    ['python', 'if True print(1)', { name: 'SyntaxError' }, /<cell 1>", line 1[^]*\^[^]*SyntaxError/],
    ['python', 'open("/no/such")', { name: 'FileNotFoundError', errno: 2, path: '/no/such' }, /No such file/],
    ['javascript', 'function f() {\n  null.x;\n}\nf()', { name: 'TypeError' }, /at f \(cell-1:2:\d+\)/],
    ['javascript', 'const = 1', { name: 'SyntaxError' }, /SyntaxError/],
    [
      'javascript',
      'throw new Error("out", { cause: new Error("in") })',
      { name: 'Error', value: 'out' },
      /out[^]*\[cause\]: Error: in/,
    ],
    ['javascript', 'throw { odd: 1 }', { name: 'Uncaught', value: '{ odd: 1 }' }, /odd/],
    ['javascript', 'require("fs").readFileSync("/no/such")', { errno: 2, path: '/no/such' }, /ENOENT/],
    [
      'typescript',
      'type T = number;\nlet x: T = 1;\nthrow new RangeError("three")',
      { name: 'RangeError', value: 'three' },
      /cell-1:3/,
    ],
    ['typescript', 'let : = 1', { name: 'SyntaxError' }, /SyntaxError/],
  ])('%s says in data what went wrong: %s', async (language, code, error, traceback) => {
    const told: unknown[] = [];
    const [first, second] = await box.each(language, [code, '1'], { onError: (one) => told.push(one) });
    expect(first?.error).toMatchObject(error);
    expect(first?.error?.traceback).toMatch(traceback);
    expect(first?.error?.traceback).not.toMatch(/<glovebox>|glovebox-kernel/);
    expect(first?.contextLost).toBe(false);
    expect(told).toEqual([first?.error]);
    expect(second?.text).toBe('1');
  });

  it('bash answers with the status of the last command, and its words', async () => {
    const [failed, returned, parse, after] = await box.each('bash', [
      'echo before; no-such-program',
      'return 7',
      'if then',
      'echo $?; sleep 0.01 & wait; set -x; true',
    ]);
    expect(failed).toMatchObject({ exitCode: 127, contextLost: false });
    expect(text(failed?.logs.stderr ?? [])).toContain('no-such-program: command not found');
    expect(returned).toMatchObject({ exitCode: 7 });
    expect(parse?.exitCode).toBe(2);
    expect(text(parse?.logs.stderr ?? [])).toContain('syntax error');
    // A script says nothing of its jobs, and what the kernel does itself is not traced.
    expect(text(after?.logs.stderr ?? [])).toMatch(/^\++ true\n$/);
  });

  it('bash leaves low descriptors to the cells', async () => {
    const last = await box.cells('bash', ['exec 3>/tmp/three', 'echo kept >&3', 'exec 3>&-; cat /tmp/three']);
    expect(text(last.logs.stdout)).toBe('kept\n');
  });

  it.each<[CodeLanguage, string, string]>([
    ['python', 'import asyncio\nawait asyncio.sleep(0.01)\nawait asyncio.sleep(0, "py")', "'py'"],
    ['javascript', 'await new Promise((done) => setTimeout(() => done("js"), 10))', "'js'"],
    ['typescript', 'await Promise.resolve<string>("ts")', "'ts'"],
  ])('%s: await at the top', async (language, code, value) => {
    expect(await box.cells(language, [code])).toMatchObject({ text: value });
  });

  it.each<[CodeLanguage]>([['javascript'], ['typescript']])('%s: import and require', async (language) => {
    box.box.write('node_modules/dep/package.json', '{"name":"dep","main":"index.js"}');
    box.box.write('node_modules/dep/index.js', 'exports.value = 5;');
    box.box.write('local.mjs', 'export const two = 2; export default "d";');
    const { sandbox } = box;
    expect(sandbox.listCodeContexts().length).toBeLessThan(10);
    const last = await box.cells(language, [
      "import { join } from 'node:path'; import local, * as all from './local.mjs';",
      "import { value } from 'dep'; const { readFileSync } = require('fs');",
      "const late = await import('./local.mjs');\n[join('a', 'b'), local, all.two, value, late.two, typeof readFileSync].join()",
    ]);
    expect(last.error).toBeUndefined();
    expect(last.text).toBe("'a/b,d,2,5,2,function'");
  });

  it('python: modules of the working directory are found, and none stands in for another', async () => {
    box.box.write('helper.py', 'value = 3\n');
    for (const name of ['json.py', 'random.py', 'traceback.py', 'ctypes.py', 'pathlib.py'])
      box.box.write(name, 'raise SystemExit("planted")\n');
    const last = await box.cells('python', [
      'import helper, json, random, ctypes, pathlib, traceback, sys',
      '[helper.value, json.dumps([1]), random.__file__, sys.flags.isolated]',
    ]);
    expect(last.error).toBeUndefined();
    expect(last.text).toMatch(/^\[3, '\[1\]', '\/usr\/lib\/.*', 1\]$/);
  });

  it.each<[CodeLanguage, string]>([
    ['python', 'import sys; sys.exit(3)'],
    ['javascript', 'process.exit(3)'],
    ['typescript', 'process.exit(3 as number)'],
    ['bash', 'exit 3'],
  ])('%s: exit ends the cell with that status', async (language, code) => {
    const [first, second] = await box.each(language, [code, 'true' + (language === 'python' ? '_ = 1' : '')]);
    expect(first).toMatchObject({ exitCode: 3, contextLost: language !== 'python' });
    expect(first?.error).toBeUndefined();
    expect(second).toMatchObject({ contextLost: false });
    expect(second?.error).toBeUndefined();
  });

  it.each<[CodeLanguage, string, string]>([
    ['python', 'print(__import__("os").environ["MY"]); print(input())', 'EOFError'],
    ['javascript', 'console.log(process.env.MY); require("fs").readFileSync(0).length', '0'],
    ['bash', 'echo $MY; read line; echo $?', '1'],
  ])('%s: has its environment, and nothing to read', async (language, code, end) => {
    const execution = await box.cells(language, [code], { envs: { MY: 'own' } });
    expect(text(execution.logs.stdout)).toMatch(/^own\n/);
    expect(execution.error?.name ?? execution.text ?? text(execution.logs.stdout).split('\n')[1]).toBe(end);
  });

  it('no code stands in the arguments of a process', async () => {
    const marker = 'MARKER_of_this_cell';
    const { sandbox } = box;
    for (const language of LANGUAGES) {
      const running = await sandbox.createCodeContext({ language });
      await sandbox.runCode(language === 'bash' ? `${marker}=1` : `${marker} = 1`, { context: running });
    }
    const processes = await sandbox.processes();
    const words = processes.flatMap((one) => one.argv).join(' ');
    expect(processes.length).toBeGreaterThanOrEqual(LANGUAGES.length);
    expect(words).toContain('python3');
    expect(words).not.toContain(marker);
    for (const context of sandbox.listCodeContexts()) await sandbox.removeCodeContext(context);
    expect(sandbox.listCodeContexts()).toEqual([]);
  });
});
