// Adds up the results of every runner and prints what was skipped, what needed a second attempt, what failed and why, and the closing
// line; exits 1 when something failed or nothing ran.
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

const MESSAGE_LINES = 12;
const LINE_LENGTH = 240;

const dir = process.argv[2];
const total = { passed: 0, failed: 0, skipped: 0 };
const skipped = new Set();
const flaky = [];
const failed = [];

function told(suite, name, messages) {
  const lines = messages.flatMap((message) => message.split('\n').slice(0, MESSAGE_LINES));
  const where = path.relative(process.cwd(), suite.name);
  return [`${where}: ${name}`, ...lines.map((line) => `    ${line.slice(0, LINE_LENGTH)}`)].join('\n');
}

function addVitest(report) {
  total.passed += report.numPassedTests;
  total.failed += report.numFailedTests;
  for (const suite of report.testResults) {
    // A file that cannot be loaded has no tests; one whose preparation fails has only skipped ones.
    if (suite.status === 'failed' && !suite.assertionResults.some((test) => test.status === 'failed')) {
      total.failed += 1;
      failed.push(told(suite, 'the file itself', [suite.message ?? '']));
    }
    for (const test of suite.assertionResults) addTest(suite, test);
  }
}

function addTest(suite, test) {
  if (['pending', 'skipped', 'todo'].includes(test.status)) {
    total.skipped += 1;
    skipped.add(test.fullName);
    return;
  }
  const messages = test.failureMessages ?? [];
  if (test.status === 'failed') failed.push(told(suite, test.fullName, messages.slice(0, 1)));
  else if (messages.length > 0) flaky.push(told(suite, test.fullName, messages.slice(0, 1)));
}

function addAgent(text) {
  const match = /^agent: (\d+) passed, (\d+) failed/m.exec(text);
  if (match === null) {
    total.failed += 1;
    return;
  }
  total.passed += Number(match[1]);
  total.failed += Number(match[2]);
}

for (const name of readdirSync(dir)) {
  const text = readFileSync(path.join(dir, name), 'utf8');
  if (name.endsWith('.json')) addVitest(JSON.parse(text));
  else addAgent(text);
}
for (const name of [...skipped].sort()) console.log(`skipped: ${name}`);
for (const text of flaky) console.log(`passed at the second attempt only: ${text}`);
for (const text of failed) console.log(`failed: ${text}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
