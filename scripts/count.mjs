// Adds up the results of every runner and prints the closing line; exits 1 when something failed or nothing ran.
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

const dir = process.argv[2];
const total = { passed: 0, failed: 0, skipped: 0 };
const skipped = new Set();

function addVitest(report) {
  total.passed += report.numPassedTests;
  total.failed += report.numFailedTests;
  for (const suite of report.testResults) {
    if (suite.status === 'failed' && suite.assertionResults.length === 0) total.failed += 1;
    for (const test of suite.assertionResults) {
      if (test.status === 'pending' || test.status === 'skipped' || test.status === 'todo') {
        total.skipped += 1;
        skipped.add(test.fullName);
      }
    }
  }
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
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
