import { expect, it } from 'vitest';
import type { CodeLanguage } from '../../src/index.ts';
import { describeTiers, text } from '../support/code.ts';

/** Finds the kernel's own ends, as code that means harm would. */
const FIND = `
import gc, os, stat, json, time
kernel = next(one for one in gc.get_objects() if type(one).__name__ == "Kernel" and hasattr(one, "_channel"))
out, cell = kernel._channel._out, kernel._cell
def frame(kind, body, id=None): os.write(out, f"{kind} {id or cell} {len(body)}\\n".encode() + body)
`;

const ALIVE: Readonly<Record<CodeLanguage, string>> = {
  python: 'print("alive")',
  javascript: 'console.log("alive")',
  typescript: 'console.log("alive")',
  bash: 'echo alive',
};

describeTiers('a kernel that lies', (box) => {
  it.each([
    ['garbage', 'os.write(out, b"garbage\\n" * 9)'],
    ['a line without an end', 'os.write(out, b"x" * 4096)'],
    ['a frame larger than any may be', 'os.write(out, f"result {cell} 999999999\\n".encode())'],
    ['a result that is no JSON', 'frame("result", b"{")'],
    ['an end that is no object', 'frame("done", b"[1]")'],
    ['bytes of every kind', 'os.write(out, os.urandom(65536) + b"\\n")'],
  ])('%s: is told as data, and the context starts anew', async (_, code) => {
    const [lie, after] = await box.each('python', [`${FIND}\n${code}\ntime.sleep(30)`, ALIVE.python], {
      timeoutMs: 20_000,
    });
    expect(lie).toMatchObject({ contextLost: true, timedOut: false, error: { name: 'KernelError' } });
    expect(lie?.error?.value).toMatch(/^the kernel sent /);
    expect(text(after?.logs.stdout ?? [])).toBe('alive\n');
  });

  it('frames of other cells and of kinds that there are not, and old answers, are nothing', async () => {
    const last = await box.cells('python', [
      `${FIND}\nfor id in ("-", "0", "f" * 64): frame("done", b"{}", id); frame("result", b'{"text":"old"}', id)\nframe("ready", b"{}"); frame("nothing", b"{}"); 5`,
    ]);
    expect(last).toMatchObject({ text: '5', contextLost: false });
    expect(last.results).toHaveLength(1);
  });

  it('a forged end cheats nobody but its own context', async () => {
    const [forged, next, after] = await box.each(
      'python',
      [`${FIND}\nframe("done", b'{"executionCount":99}')\ntime.sleep(60)`, '1', ALIVE.python],
      { timeoutMs: 3000 },
    );
    expect(forged).toMatchObject({ executionCount: 1, contextLost: false });
    expect(next).toMatchObject({ timedOut: true, contextLost: true });
    expect(text(after?.logs.stdout ?? [])).toBe('alive\n');
  });

  it('half a frame waits for nothing but the timeout', async () => {
    const [half, after] = await box.each(
      'python',
      [`${FIND}\nos.write(out, f"result {cell} 1000000\\n".encode())`, ALIVE.python],
      { timeoutMs: 1500 },
    );
    expect(half).toMatchObject({ timedOut: true, contextLost: true });
    expect(text(after?.logs.stdout ?? [])).toBe('alive\n');
  });

  it('results without number, depth or shape are bounded', async () => {
    const execution = await box.cells('python', [
      `${FIND}
for i in range(1200): frame("result", b'{"text":"r","png":5,"chart":{"type":"spiral"},"data":[1],"constructor":{"x":1}}')
`,
      `${FIND}
frame("result", b'{"__proto__":{"polluted":1},"text":"p"}')
frame("result", b'{"text":"deep","json":' + b"[" * 200000 + b"]" * 200000 + b"}")`,
    ]);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
    expect(execution.results.map((one) => one.formats())).toEqual([['text'], ['text']]);
    expect(execution.truncated).toBe(true);
    const many = await box.cells('python', [
      `${FIND}\nfor i in range(1200): frame("result", b'{"text":"r","png":5}')`,
    ]);
    expect(many.results).toHaveLength(1000);
    expect(many).toMatchObject({ truncated: true, contextLost: false });
  });

  it('output that looks like a mark is output', async () => {
    const [like, exact, after] = await box.each('python', [
      'import os; os.write(1, b"\\0" * 5 + b"\\0deadbeef\\0" + bytes(range(256)) + b"\\0")',
      `${FIND}\nos.write(1, b"a\\0%s\\0b\\n" % cell.encode())`,
      ALIVE.python,
    ]);
    expect(text(like?.logs.stdout ?? [])).toBe(
      `${'\0'.repeat(5)}\0deadbeef\0${new TextDecoder().decode(Uint8Array.from({ length: 256 }, (_, i) => i))}\0`,
    );
    expect(text(exact?.logs.stdout ?? [])).toMatch(/^ab\n/);
    expect(text(after?.logs.stdout ?? [])).toContain('alive\n');
  });
});

describeTiers('code that breaks its own kernel', (box) => {
  it.each<[CodeLanguage, string, string, { readonly status: number; readonly signal?: RegExp }]>([
    ['python', 'is killed', 'import os; os.kill(os.getpid(), 9)', { status: 137, signal: /SIGKILL/ }],
    ['python', 'leaves', 'import os; os._exit(5)', { status: 5 }],
    ['python', 'crashes', 'import ctypes; ctypes.string_at(0)', { status: 139, signal: /SIGSEGV/ }],
    ['javascript', 'aborts', 'process.abort()', { status: 134, signal: /SIGABRT/ }],
    ['javascript', 'is killed', 'process.kill(process.pid, "SIGKILL")', { status: 137, signal: /SIGKILL/ }],
    ['bash', 'is killed', 'kill -9 $$', { status: 137, signal: /SIGKILL/ }],
    ['bash', 'recurses', 'f() { f; }; f', { status: 139, signal: /SIGSEGV/ }],
    ['bash', 'is replaced', 'exec true', { status: 0 }],
  ])(
    '%s %s: the cell says how it ended, and the next one starts anew',
    async (language, _, code, { status, signal }) => {
      const [broken, after] = await box.each(language, [code, ALIVE[language]]);
      expect(broken).toMatchObject({ contextLost: true, exitCode: status, timedOut: false });
      if (signal === undefined) expect(broken?.error).toBeUndefined();
      else expect(broken?.error).toMatchObject({ name: 'KernelDied', value: expect.stringMatching(signal) });
      expect(text(after?.logs.stdout ?? [])).toBe('alive\n');
    },
  );

  it.each<[CodeLanguage, string, string]>([
    ['python', 'def f(): f()\nf()', 'RecursionError'],
    ['javascript', 'function f() { f(); } f()', 'RangeError'],
  ])('%s: recursion without end is an error like any other', async (language, code, name) => {
    const [deep, after] = await box.each(language, [code, ALIVE[language]]);
    expect(deep).toMatchObject({ contextLost: false, error: { name } });
    expect(text(after?.logs.stdout ?? [])).toBe('alive\n');
  });

  it.each<[CodeLanguage, string]>([
    ['python', 'import os; os.close(1); os.close(2)'],
    ['python', 'import sys; sys.stdout.close(); sys.stderr = None'],
    [
      'python',
      'import sys\nclass Bad:\n  def flush(self): raise RuntimeError\n  def write(self, _): 1/0\nsys.stdout = sys.stderr = Bad()',
    ],
    [
      'python',
      'import os; f = os.open("/tmp/elsewhere", os.O_RDWR | os.O_CREAT); os.dup2(f, 1); os.dup2(f, 2); print("gone")',
    ],
    ['javascript', 'require("fs").closeSync(1); require("fs").closeSync(2)'],
    ['javascript', 'process.stdout.write = () => { throw new Error("no"); }; delete globalThis.console'],
    ['bash', 'exec 1>&- 2>&-'],
    ['bash', 'exec >/tmp/elsewhere 2>&1; echo gone'],
  ])('%s: closes or redirects its output: %s', async (language, code) => {
    const values = { python: '40 + 2', javascript: '40 + 2', typescript: '42', bash: '(exit 42)' };
    const [closed, after] = await box.each(language, [code, values[language]]);
    expect(text(closed?.logs.stdout ?? [])).toBe('');
    expect(closed?.contextLost).toBe(false);
    expect(after?.text ?? String(after?.exitCode)).toBe('42');
  });

  it.each<[CodeLanguage, string]>([
    ['python', 'print("x" * (20 << 20))'],
    ['javascript', 'console.log("x".repeat(20 << 20))'],
    ['bash', 'head -c 20971520 /dev/zero | tr "\\0" x'],
  ])('%s: 20 MB of output are cut, and the next cell is whole', async (language, code) => {
    const [large, after] = await box.each(language, [code, ALIVE[language]]);
    expect(large).toMatchObject({ truncated: true, contextLost: false });
    expect(text(large?.logs.stdout ?? [])).toHaveLength(16 << 20);
    expect(text(after?.logs.stdout ?? [])).toBe('alive\n');
  });

  it('children that keep the output, or run on as a fork of the kernel, hold nothing up', async () => {
    const all = await box.each('python', [
      'import os, subprocess, sys, time\nkept = subprocess.Popen(["sleep", "60"], start_new_session=True)',
      'if os.fork() == 0:\n  print("child"); sys.stdout.flush(); time.sleep(60)',
      // A child that falls out of its cell neither answers nor reads the next one.
      'child = os.fork()\nif child == 0:\n  display("from a child"); 1 / 0',
      'os.waitpid(child, 0)[1] >> 8',
      '"alive"',
    ]);
    expect(all.map((one) => one.contextLost)).toEqual([false, false, false, false, false]);
    expect(all[2]?.results).toEqual([]);
    expect(all.slice(3).map((one) => one.text)).toEqual(['1', "'alive'"]);
    expect(text(all.flatMap((one) => one.logs.stderr))).toContain('ZeroDivisionError');
  });

  it('a program of a cell inherits no end of the kernel', async () => {
    const list = 'ls -l /proc/self/fd | grep -c "socket:"';
    for (const [language, code] of [
      [
        'python',
        `import subprocess; print(subprocess.run(${JSON.stringify(list)}, shell=True, close_fds=False, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout)`,
      ],
      [
        'javascript',
        `try { require("child_process").execSync(${JSON.stringify(list)}, { stdio: ["ignore", "inherit", "inherit"] }) } catch {}`,
      ],
      ['bash', list],
    ] as const) {
      expect(text((await box.cells(language, [code])).logs.stdout).trim(), language).toBe('0');
    }
  });

  it('what cannot be code is refused before it is sent', async () => {
    const { sandbox } = box;
    await expect(sandbox.runCode('echo \0', { language: 'bash' })).rejects.toMatchObject({ code: 'E_USAGE' });
    await expect(sandbox.runCode('#'.repeat((8 << 20) + 1))).rejects.toMatchObject({ code: 'E_USAGE' });
    expect((await sandbox.runCode(`${'#'.repeat(8_000_000)}\n1`)).text).toBe('1');
    const odd = 'é$`"\'\\ \t!€𝄞';
    expect(
      text(
        (await sandbox.runCode(`printf %s ${JSON.stringify('x')}'é$\`"\\ !€𝄞'`, { language: 'bash' })).logs
          .stdout,
      ),
    ).toBe('xé$`"\\ !€𝄞');
    expect((await sandbox.runCode(`"""${odd.replace('\\', '\\\\')}"""`)).text).toContain('€𝄞');
    await expect(sandbox.runCode('1', { context: 'ctx_none' })).rejects.toMatchObject({ code: 'E_USAGE' });
  });
});

describeTiers(
  'limits.output',
  (box) => {
    it.each<[CodeLanguage, string]>([
      ['python', 'while True: print("x" * 1000)'],
      ['javascript', 'for (;;) console.log("x".repeat(1000))'],
      ['bash', 'yes'],
    ])('%s: ends the cell that writes more', async (language, code) => {
      const execution = await box.cells(language, [code]);
      expect(execution).toMatchObject({
        limit: 'output',
        timedOut: false,
        truncated: true,
        error: { name: 'OutputLimitError' },
      });
      expect(text(execution.logs.stdout).length).toBeLessThanOrEqual(64 * 1024);
    });
  },
  { limits: { output: '64KiB' } },
);
