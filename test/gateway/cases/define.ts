import { appendFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { checksFor } from './checks.ts';
import { attackExists, heldBy } from './held.ts';
import { invariants } from './invariants.ts';
import type { Case, CaseFile } from './load.ts';
import { pendingReason } from './pending.ts';
import { CasePolicies } from './policies.ts';
import { runCase } from './run.ts';
import type { Result } from './run.ts';
import { commonStrings } from './stage.ts';
import type { Suite } from './stage.ts';
import { createWorld } from './world.ts';

/** Defines one test for every row of a file. */
export function defineCases(name: string, file: CaseFile): void {
  const suite: Suite = {
    file,
    policies: new CasePolicies(file),
    world: createWorld(),
    strings: commonStrings(),
  };
  afterAll(() => suite.world.close());
  const pending = file.cases.filter((row) => pendingReason(suite, row) !== undefined);
  const rest = file.cases.filter((row) => !pending.includes(row));
  const held = rest.filter((row) => heldBy(row) !== undefined);
  const running = rest.filter((row) => heldBy(row) === undefined);
  describe(name, () => {
    test.concurrent.each(running.map((row) => [row.id, row.expect, row.why.slice(0, 100), row] as const))(
      '%s %s: %s',
      (_id, _expect, _why, row) => runCase(suite, row, (result) => judge(row, result)),
    );

    test.each(held.map((row) => [row.id, heldBy(row)?.file ?? '', row] as const))(
      '%s is held by test/attack/%s',
      (_id, _file, row) => {
        const by = heldBy(row);
        expect(by !== undefined && attackExists(by), by?.file).toBe(true);
      },
    );

    test('every row runs, is held by an attack, or has a reason why not', () => {
      const reasons = pending.map((row) => `${row.id}: ${pendingReason(suite, row) ?? ''}`);
      const unread = running.filter((row) => row.assert !== undefined && checksFor(row).length === 0);
      console.log(
        `${name}: ${running.length} run, ${held.length} held by test/attack, ${pending.length} pending`,
        ...reasons,
        ...unread.map(({ id, assert }) => `not understood: ${id} (${assert})`),
      );
      expect(running.length + held.length + pending.length).toBe(file.cases.length);
    });
  });
}

async function judge(row: Case, result: Result): Promise<void> {
  const outcome = result.steps.at(-1)?.outcome ?? 'nothing';
  dump(result);
  expect(isSafe(row, outcome) ? 'as expected' : `${outcome}: ${explain(result)}`).toBe('as expected');
  for (const check of [...checksFor(row), ...invariants])
    expect((await check.run(result)) ?? 'as expected', `${check.what}: ${explain(result)}`).toBe(
      'as expected',
    );
}

/** A change on the way, and no change, are both "it passed". */
function isSafe(row: Case, outcome: string): boolean {
  const safe = new Set([row.expect, ...(row.accept ?? [])]);
  return safe.has(outcome) || (outcome === 'allow' && safe.has('transform'));
}

function explain(result: Result): string {
  const step = result.steps.at(-1);
  return JSON.stringify({
    way: result.way,
    outcomes: result.steps.map(({ outcome }) => outcome),
    events: step?.stage.bench.events.map(({ rule, reason }) => `${rule}: ${reason}`),
    records: step?.stage.requests.map(({ rule, reason, status }) => `${rule} ${status}: ${reason}`),
    reply: step?.reply.toString('latin1', 0, 300),
    upstream: step?.stage.origin.requests.map(({ raw }) => raw.toString('latin1', 0, 300)),
    error: step?.facts?.['error'],
  });
}

/** What every row came to and why, for a reader. */
function dump(result: Result): void {
  const file = process.env['GLOVEBOX_EGRESS_DUMP'];
  if (file !== undefined) appendFileSync(file, `${result.row.id} ${result.row.expect} ${explain(result)}\n`);
}
