import { describe, expect, test } from 'vitest';
import { ASSERTIONS } from './cases/assertions.ts';
import { loadCases } from './cases/load.ts';
import { pendingReason } from './cases/pending.ts';
import { runCase } from './cases/run.ts';
import { RUN_APART } from './cases/run-apart.ts';

const file = loadCases();
const pending = file.cases.filter((row) => pendingReason(row) !== undefined);
const apart = file.cases.filter((row) => pendingReason(row) === undefined && RUN_APART[row.id] !== undefined);
const running = file.cases.filter(
  (row) => pendingReason(row) === undefined && RUN_APART[row.id] === undefined,
);

describe('egress cases', () => {
  test.each(running.map((row) => [row.id, row.expect, row.why, row] as const))(
    '%s %s: %s',
    async (id, _expect, _why, row) => {
      const safe = new Set([row.expect, ...(row.accept ?? [])]);
      const results = await runCase(file, row);
      expect(results.length).toBeGreaterThan(0);
      for (const { outcome, reply, stage } of results) {
        const what = `${outcome}; ${JSON.stringify(stage.bench.events)}; ${reply.toString('latin1').slice(0, 200)}`;
        const good = safe.has(outcome) || (outcome === 'allow' && safe.has('transform'));
        expect(good ? 'as expected' : what).toBe('as expected');
      }
      for (const result of results) ASSERTIONS[id]?.(result);
    },
  );

  test.each(apart.map((row) => [row.id, row.expect, row.why] as const))('%s %s: %s', async (id) => {
    await RUN_APART[id]?.(file);
  });

  test('every row runs or has a reason why it does not', () => {
    const reasons = new Map<string, number>();
    for (const row of pending) {
      const reason = pendingReason(row) ?? '';
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    console.log(
      `egress cases: ${running.length + apart.length} run, ${pending.length} pending`,
      Object.fromEntries(reasons),
    );
    expect(running.length + apart.length + pending.length).toBe(file.cases.length);
    expect(pending.every((row) => (pendingReason(row) ?? '') !== '')).toBe(true);
  });
});
