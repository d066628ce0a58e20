// Grades 50 submissions of many people, some of them hostile, four at a time, each in a sandbox of its own. Run it after `npm run build`:
// node examples/grader.mjs [TIER] [JOBS]
import { runCodeOnce } from 'glovebox';

const tier = process.argv[2] ?? 'process';
const jobs = Number(process.argv[3] ?? 50);
const AT_ONCE = 4;

/** The task: define `add(a, b)`. The last line of every run is the grader's own. */
const CHECK = '\n[add(1, 2), add(-1, 1), add(10, 5)] == [3, 0, 15]';
const SUBMISSIONS = [
  ['right', 'def add(a, b): return a + b'],
  ['right, wordy', 'add = lambda *all: sum(all)'],
  ['wrong', 'def add(a, b): return a - b'],
  ['does not parse', 'def add(a, b) return a + b'],
  ['never ends', 'def add(a, b):\n  while True: pass'],
  ['takes all memory', 'x = []\nwhile True: x.append(bytearray(10_000_000))'],
  ['forks', 'import os\nwhile True: os.fork()'],
  ['calls home', 'import urllib.request\nurllib.request.urlopen("https://example.com/")'],
  ['reads secrets', 'print(open("/etc/shadow").read())'],
  ['kills itself', 'import os; os.kill(os.getpid(), 9)'],
];

async function grade(id) {
  const [kind, code] = SUBMISSIONS[id % SUBMISSIONS.length];
  const limits = { timeout: '5s', memory: '512MiB', pids: '24' };
  const report = await runCodeOnce({
    code: code + CHECK,
    sandbox: { tier, limits, metadata: { job: String(id) } },
  });
  const passed = report.status === 'ok' && report.results.at(-1)?.text === 'True';
  return { id, kind, status: report.status, passed, ms: report.durationMs };
}

const grades = [];
const queue = Array.from({ length: jobs }, (_, id) => id);
const worker = async () => {
  for (let id = queue.shift(); id !== undefined; id = queue.shift()) grades[id] = await grade(id);
};
await Promise.all(Array.from({ length: AT_ONCE }, worker));

console.log('job  submission        status           passed      ms');
for (const { id, kind, status, passed, ms } of grades)
  console.log(
    `${String(id).padEnd(5)}${kind.padEnd(18)}${status.padEnd(17)}${(passed ? 'yes' : 'no').padEnd(6)}${String(ms).padStart(8)}`,
  );
console.log(`${grades.filter(({ passed }) => passed).length} of ${grades.length} passed`);
