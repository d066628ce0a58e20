import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { CodeLanguage } from '../../src/index.ts';
import { until } from '../support/attack.ts';
import { describeTiers, text } from '../support/code.ts';

const AFTER: Readonly<Record<CodeLanguage, readonly [string, string]>> = {
  python: ['kept = 1', 'print(kept)'],
  javascript: ['const kept = 1', 'console.log(kept)'],
  typescript: ['const kept: number = 1', 'console.log(kept)'],
  bash: ['kept=1', 'echo $kept'],
};

describeTiers('a cell that takes too long', (box) => {
  it.each<[CodeLanguage, string, string]>([
    ['python', 'a loop', 'while True: pass'],
    ['python', 'a sleep', 'import time; time.sleep(60)'],
    ['python', 'an await', 'import asyncio\nawait asyncio.sleep(60)'],
    ['python', 'a thread that is waited for', 'import threading\nthreading.Event().wait()'],
    ['python', 'a child', 'import subprocess; subprocess.run(["sleep", "60"])'],
    ['python', 'a shell', 'import os; os.system("sleep 60")'],
    [
      'python',
      'a loop that catches what it can',
      'while True:\n  try:\n    while True: pass\n  except Exception: pass',
    ],
    ['javascript', 'a loop', 'for (;;);'],
    ['javascript', 'an await', 'await new Promise(() => setInterval(() => undefined, 1000))'],
    ['javascript', 'a child', 'require("child_process").execSync("sleep 60")'],
    ['javascript', 'a loop after an await', 'await 1; for (;;);'],
    ['typescript', 'a loop', 'let n: number = 0; while (true) n++'],
    ['bash', 'a loop', 'while :; do :; done'],
    ['bash', 'a child', 'sleep 60'],
    ['bash', 'a pipeline', 'yes | cat > /dev/null'],
    ['bash', 'jobs', 'sleep 60 & sleep 60 & wait'],
    ['bash', 'a function', 'f() { while :; do sleep 0.01; done; }; f; echo not reached'],
  ])('%s, %s: is interrupted and the context lives on', async (language, _, code) => {
    const [keep, use] = AFTER[language];
    const { sandbox } = box;
    const context = await sandbox.createCodeContext({ language });
    await sandbox.runCode(keep, { context });
    const execution = await sandbox.runCode(code, { context, timeoutMs: 300 });
    expect(execution).toMatchObject({
      timedOut: true,
      contextLost: false,
      error: { name: 'TimeoutError', value: 'the cell ran longer than 300 ms' },
    });
    const after = await sandbox.runCode(use, { context });
    expect(after.error).toBeUndefined();
    expect(text(after.logs.stdout)).toBe('1\n');
    await sandbox.removeCodeContext(context);
  });

  it.each<[CodeLanguage, string]>([
    [
      'python',
      'import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)',
    ],
    ['python', 'import time\nwhile True:\n  try:\n    time.sleep(60)\n  except BaseException: pass'],
    [
      'javascript',
      'process.removeAllListeners("SIGINT"); process.on("SIGINT", () => {}); require("child_process").execSync("trap \'\' INT; sleep 60; sleep 60")',
    ],
    ['bash', 'trap "" INT; while :; do :; done'],
  ])('%s, deaf to interrupts: is ended, and the next cell starts anew', async (language, code) => {
    const [keep, use] = AFTER[language];
    const { sandbox } = box;
    const context = await sandbox.createCodeContext({ language });
    await sandbox.runCode(keep, { context });
    const execution = await sandbox.runCode(code, { context, timeoutMs: 300 });
    expect(execution).toMatchObject({ timedOut: true, contextLost: true, error: { name: 'TimeoutError' } });
    const after = await sandbox.runCode(use, { context });
    expect(text(after.logs.stdout)).not.toBe('1\n');
    expect((await sandbox.runCode(keep, { context })).error).toBeUndefined();
    await sandbox.removeCodeContext(context);
  });

  it('a handler that one cell sets does not make the next one deaf', async () => {
    const last = await box.cells(
      'python',
      ['import signal; signal.signal(signal.SIGINT, lambda *_: None); kept = 1', 'while True: pass'],
      { timeoutMs: 1000 },
    );
    expect(last).toMatchObject({ timedOut: true, contextLost: false });
  });

  it('an await that was interrupted does not go on in the next cell', async () => {
    const all = await box.each(
      'python',
      [
        'import asyncio\nasync def late():\n  await asyncio.sleep(0.6)\n  print("late")\nawait late()',
        'import asyncio\nawait asyncio.sleep(0.8)',
      ],
      { timeoutMs: 300 },
    );
    expect(all.map((one) => text(one.logs.stdout))).toEqual(['', '']);
  });
});

describeTiers('a cell that somebody stops', (box) => {
  it.each<[CodeLanguage, string, RegExp]>([
    ['python', 'print("on", flush=True)\nwhile True: pass', /^KeyboardInterrupt$/],
    ['javascript', 'console.log("on"); for (;;);', /^Interrupted$/],
    ['bash', 'echo on; sleep 60', /^undefined$/],
  ])('%s: interruptCodeContext ends the cell, and says so as an error', async (language, code, name) => {
    const { sandbox } = box;
    const context = await sandbox.createCodeContext({ language });
    const execution = await sandbox.runCode(code, {
      context,
      onStdout: () => sandbox.interruptCodeContext(context),
    });
    expect(String(execution.error?.name)).toMatch(name);
    expect(execution).toMatchObject({ timedOut: false, contextLost: false });
    if (language === 'bash') expect(execution.exitCode).toBe(130);
    expect((await sandbox.runCode('1', { context })).timedOut).toBe(false);
    await sandbox.removeCodeContext(context);
  });

  it('bash hears it between two commands too, every time', async () => {
    const { sandbox } = box;
    const context = await sandbox.createCodeContext({ language: 'bash' });
    for (let turn = 0; turn < 20; turn++) {
      const execution = await sandbox.runCode('echo on; sleep 60', {
        context,
        timeoutMs: 20_000,
        onStdout: () => sandbox.interruptCodeContext(context),
      });
      expect(execution).toMatchObject({ timedOut: false, contextLost: false, exitCode: 130 });
      expect(text((await sandbox.runCode('echo $((1 + 1))', { context })).logs.stdout)).toBe('2\n');
    }
    await sandbox.removeCodeContext(context);
  });

  it('an abort signal does the same; before its turn the cell never runs', async () => {
    const { sandbox } = box;
    const context = await sandbox.createCodeContext();
    const stop = new AbortController();
    const running = sandbox.runCode('print("on", flush=True)\nwhile True: pass', {
      context,
      signal: stop.signal,
      onStdout: () => stop.abort(),
    });
    const queued = sandbox
      .runCode('x = 1', { context, signal: stop.signal })
      .catch((error: unknown) => error);
    expect(await running).toMatchObject({ error: { name: 'AbortError' }, contextLost: false });
    expect(await queued).toMatchObject({ code: 'E_ABORTED' });
    expect((await sandbox.runCode('x', { context })).error).toMatchObject({ name: 'NameError' });
    await sandbox.removeCodeContext(context);
  });

  it('restart forgets, also in the midst of a cell; remove ends it for good', async () => {
    const { sandbox } = box;
    const context = await sandbox.createCodeContext();
    await sandbox.runCode('x = 1', { context });
    const cell = sandbox.runCode('print("on", flush=True)\nwhile True: pass', {
      context,
      onStdout: () => void sandbox.restartCodeContext(context),
    });
    expect(await cell).toMatchObject({ contextLost: true, error: { name: 'ContextEnded' } });
    expect((await sandbox.runCode('x', { context })).error).toMatchObject({ name: 'NameError' });
    await sandbox.removeCodeContext(context);
    await expect(sandbox.runCode('1', { context })).rejects.toMatchObject({ code: 'E_USAGE' });
    expect(sandbox.listCodeContexts().map((one) => one.id)).not.toContain(context.id);
  });

  it('contexts run beside each other, the cells of one after another', async () => {
    const { sandbox } = box;
    const [one, two] = await Promise.all([sandbox.createCodeContext(), sandbox.createCodeContext()]);
    // Each waits for a file that the other makes.
    const meet = (mine: string, other: string): string =>
      `import os, time\nopen("${mine}", "w").close()\nwhile not os.path.exists("${other}"): time.sleep(0.01)\n"met"`;
    const met = await Promise.all([
      sandbox.runCode(meet('/tmp/m1', '/tmp/m2'), { context: one }),
      sandbox.runCode(meet('/tmp/m2', '/tmp/m1'), { context: two }),
    ]);
    expect(met.map((cell) => cell.text)).toEqual(["'met'", "'met'"]);
    const order = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        sandbox.runCode(`${i === 0 ? 'n = []\n' : ''}n.append(${i})\nprint(n)`, { context: one }),
      ),
    );
    expect(order.map((cell) => text(cell.logs.stdout))).toEqual(
      order.map((_, i) => `[${Array.from({ length: i + 1 }, (__, n) => n).join(', ')}]\n`),
    );
    await sandbox.removeCodeContext(one);
    await sandbox.removeCodeContext(two);
  });

  it('what an earlier cell left running writes to its sink, or to the cell that runs then', async () => {
    const { sandbox } = box;
    const between: string[] = [];
    const context = await sandbox.createCodeContext({
      language: 'bash',
      onBackground: (stream, piece) => between.push(`${stream}:${piece}`),
    });
    await sandbox.runCode('(sleep 0.3; echo late; sleep 0.6; echo later) &', { context });
    await until(() => between.join('') === 'stdout:late\n', 'the first word', 5000);
    const cell = await sandbox.runCode('wait', { context });
    expect(text(cell.logs.stdout)).toBe('later\n');
    expect(between).toEqual(['stdout:late\n']);
    await sandbox.removeCodeContext(context);
  });

  it('a sandbox that ends takes its cells with it', async () => {
    const { sandbox } = box;
    const cells: Promise<unknown>[] = [];
    for (const language of ['python', 'javascript', 'bash'] as const) {
      const context = await sandbox.createCodeContext({ language });
      const code = { python: 'while True: pass', javascript: 'for (;;);', bash: 'sleep 60' }[language];
      cells.push(sandbox.runCode(code, { context }).catch((error: unknown) => error));
    }
    await delay(100);
    await sandbox.kill();
    for (const end of await Promise.all(cells))
      expect(end).toMatchObject({ code: expect.stringMatching(/^E_SANDBOX_/) });
  });
});
