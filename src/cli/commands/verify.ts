import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import type { CheckResult, Verification } from '../../verify/contract.ts';
import { verifyWalls } from '../../verify/verify.ts';
import type { CliCommand } from '../contract.ts';
import { parseRun, type ParsedRun } from '../options.ts';
import { signalled, Stop } from '../stop.ts';

/** What of a sandbox's options it takes. */
const TAKEN: ReadonlySet<string> = new Set(['tier', 'driver', 'base']);

export const verifyCommand: CliCommand = {
  name: 'verify',
  summary: 'start a sandbox, try to get out of it in many ways, and say which walls held',
  usage: `Usage: glovebox verify [--tier TIER] [--driver NAME] [--image NAME] [--json]

Starts one sandbox with a policy and a workspace of its own, and canaries around it: files, a process, a listener, a secret in the
environment. Then it tries to reach each of them from inside, and looks at what became of them, and whether the refusals that have to be
recorded stand in the audit log. Nothing outside this machine is asked.

      --tier TIER    process, container, vm or vm+gvisor
      --driver NAME  what makes the container or the vm
      --image NAME   the base system

A check says ok, FAIL, or skip where the base system lacks a program that it needs. Exit code 0 when nothing failed, 1 when a wall
did not hold, 125 when no sandbox starts. It is a smoke test of the walls on this machine, and no proof of them.`,
  run: async (args, io) => {
    const choice = choiceOf(args);
    const stop = new Stop(io);
    try {
      const verification = await verifyWalls({ ...choice, signal: stop.signal }, io.env);
      if (stop.received !== undefined) return signalled(stop.received);
      io.stdout.write(io.json ? `${JSON.stringify(verification, null, 2)}\n` : text(verification));
      return verification.holds ? EXIT.ok : BROKEN;
    } catch (error) {
      // The sandbox is gone by now, and the canaries with it.
      if (stop.received === undefined) throw error;
      return signalled(stop.received);
    } finally {
      stop.dispose();
    }
  },
};

/** A wall did not hold. */
const BROKEN = 1;

function choiceOf(
  args: readonly string[],
): Pick<ParsedRun['layer'], 'tier' | 'driver'> & { readonly image?: string } {
  const { layer, command } = parseRun(args);
  const other = Object.keys(layer).find((name) => !TAKEN.has(name));
  if (command.length > 0 || other !== undefined)
    throw new GloveboxError('E_USAGE', {
      what: `verify takes no ${other === undefined ? `"${command[0]}"` : `option for ${other}`}`,
      why: 'its sandbox has a policy of its own',
      next: 'See `glovebox help verify`.',
    });
  const { tier, driver, base } = layer;
  return {
    ...(tier === undefined ? {} : { tier }),
    ...(driver === undefined ? {} : { driver }),
    ...(base === undefined ? {} : { image: base }),
  };
}

const MARK: Readonly<Record<CheckResult['state'], string>> = { pass: 'ok  ', fail: 'FAIL', skip: 'skip' };

function text({ tier, driver, checks, holds }: Verification): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const rows = checks.flatMap(({ name, tries, state, detail }) => [
    `${MARK[state]}  ${name.padEnd(width)}  ${tries}`,
    ...(detail === undefined ? [] : [`      ${' '.repeat(width)}  ${detail}`]),
  ]);
  const of = `tier ${tier}, ${driver}`;
  const end = holds ? `No check failed (${of}).` : `Walls that do not hold are marked FAIL (${of}).`;
  return [...rows, '', end, ''].join('\n');
}
