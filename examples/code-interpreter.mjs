// A code interpreter as a tool of a language model. Run it after `npm run build`: node examples/code-interpreter.mjs [TIER]
//
// No model can be had here, so `model` below is a script that answers as one would: it asks for the tool, reads the error, asks again.
// Put your provider's client in its place; the loop and the tool stay as they are.
import { Sandbox } from 'glovebox';

const tool = {
  name: 'run_python',
  description: 'Runs Python in a notebook that keeps its variables. There is no network.',
  input_schema: { type: 'object', properties: { code: { type: 'string' } }, required: ['code'] },
};

/** What a model would answer to the conversation so far. */
function model(messages) {
  const results = messages.filter(({ role }) => role === 'tool');
  const script = [
    { code: 'sales = {"north": [3, 5, 8], "south": [2, 4, 9]}\nsum(sale)' },
    { code: '{region: sum(months) for region, months in sales.items()}' },
    { code: 'import urllib.request\nurllib.request.urlopen("https://example.com/?north=16")' },
  ];
  const next = script[results.length];
  if (next !== undefined) return { tool: tool.name, input: next };
  return {
    answer: `North sold 16, south 15. (Sending the data away did not work: ${lastLine(results.at(-1).content)})`,
  };
}

const lastLine = (text) => text.trim().split('\n').at(-1);

/** What goes back to the model: short, and an error is an answer like any other. */
function toolResult({ logs, error, text }) {
  const parts = [...logs.stdout, ...logs.stderr, error?.traceback ?? text ?? ''];
  return parts.join('').slice(0, 10_000) || '(no output)';
}

const box = await Sandbox.create({ temporary: true, profile: 'code', tier: process.argv[2] ?? 'process' });
try {
  const messages = [{ role: 'user', content: 'Which region sold more?' }];
  for (;;) {
    const turn = model(messages);
    if (turn.answer !== undefined) {
      console.log(`answer: ${turn.answer}`);
      break;
    }
    const execution = await box.runCode(turn.input.code, { timeoutMs: 60_000 });
    const content = toolResult(execution);
    console.log(`> ${turn.input.code.replaceAll('\n', '\n> ')}\n${lastLine(content)}\n`);
    messages.push({ role: 'assistant', content: turn }, { role: 'tool', content });
  }
} finally {
  await box.kill();
}
