import path from 'node:path';
import type { Context, Subject } from '../lib/context.ts';
import { numbersOf } from '../lib/command.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { ratio } from '../lib/stats.ts';

const ROUNDS = 15;
const HOSTS = 25;

/** Milliseconds from "where do policies lie" to a resolved one: never seen before, and remembered. */
export const policy: Subject = {
  name: 'policy',
  summary: 'resolving a policy in a fresh process, unseen and remembered',
  run: async (context) => {
    const { place, rounds, budgetMs } = context;
    const file = place.write('policy-bench.yaml', policyText());
    const forget = (): void => {
      place.forgetCache('policy-cold');
      place.env('policy-cold');
    };
    const arms: Arm[] = [
      { ...arm(context, 'unseen', file, 'policy-cold'), before: forget },
      arm(context, 'remembered', file, 'policy-warm'),
    ];
    const metrics = { modules: 'ms', load: 'ms', again: 'ms' } as const;
    const series = await interleave({ arms, metrics, rounds: rounds(ROUNDS), warmups: 1, budgetMs });
    const pair = { of: find(series, 'remembered: load'), to: find(series, 'unseen: load') };
    return { series, comparisons: ratio({ label: 'load, remembered / unseen', ...pair }), skips: [] };
  },
};

function arm({ place, programs }: Context, name: string, file: string, state: string): Arm {
  const workspace = place.workspace('policy');
  const argv = [process.execPath, path.join(programs, 'policy-load.mjs'), workspace, file];
  const sample = () => Promise.resolve(numbersOf({ argv, cwd: workspace, env: place.env(state) }));
  return { name, command: 'loadPolicy(context, { policyFile })', sample };
}

/** A policy of the size that a person writes. */
function policyText(): string {
  const hosts = Array.from({ length: HOSTS }, (_, i) => `    - { host: api${i}.example.com, ports: [443] }`);
  return [
    'version: 1',
    'extends: [profile:node, profile:git]',
    'filesystem:',
    '  deny: [.env, secrets]',
    'network:',
    '  allow:',
    ...hosts,
    '',
  ].join('\n');
}
