import { Judge } from '../../../src/gateway/decide.ts';
import type { Check } from './checks.ts';
import { arrivedIn, holds, lastOf, logsOf, readable, realValues } from './evidence.ts';
import { denialRule } from './outcome.ts';
import type { Stage } from './stage.ts';

const SPECIAL = /^(127\.|0\.|169\.254\.|::1$|::ffff:|fe80|fd00:ec2|168\.63\.129\.16$|198\.1[89]\.)/;

function isAllowedName(stage: Stage, name: string): boolean {
  return new Judge(stage.network).decideName(name.replace(/\.$/, '')).action === 'allow';
}

/** A refusal between two steps, such as the end of a live connection, is one too. */
const NEVER = { events: 0, requests: 0, records: 0, dialled: 0, arrivals: 0, messages: 0 };

/** What holds for every row, whatever it is about. */
export const invariants: readonly Check[] = [
  {
    what: 'no address of the attacker or of this machine is dialled',
    run: ({ run, steps }) => {
      const { attackerAddress, names } = run.suite.file.fixtures;
      for (const { stage } of steps) {
        const { asked, dialled } = stage.bench;
        // After a reload another policy says which names may be resolved.
        const isReloaded = steps.some(({ input, outcome }) => input.op === 'reload' && outcome === 'allow');
        const wrong = isReloaded ? undefined : asked.find((name) => !isAllowedName(stage, name));
        if (wrong !== undefined) return `${wrong} was resolved`;
        // Names that the fixtures do not list resolve to the attacker's address: a wildcard rule may allow such a name.
        const isListed = asked.every((name) => Object.hasOwn(names, name.replace(/\.$/, '')));
        const found = dialled.find(
          ({ address }) => SPECIAL.test(address) || (isListed && address === attackerAddress),
        );
        if (found !== undefined) return found.address;
      }
      return undefined;
    },
  },
  {
    what: 'what was refused did not arrive',
    run: (result) => {
      const step = lastOf(result);
      if (step.outcome === 'allow' || step.outcome === 'config-error' || result.row.input.op === 'response')
        return undefined;
      if (result.row.input.op === 'h2' || step.input.op === 'ws' || step.stage.origin.opaque)
        return undefined;
      return arrivedIn(step)[0]?.start;
    },
  },
  {
    what: 'a refusal leaves a record',
    run: (result) => {
      const step = lastOf(result);
      if (step.outcome !== 'deny' && step.outcome !== 'reject') return undefined;
      if (['dns', 'dns-raw', 'audit-break', 'audit-tamper', 'send-on-tunnel'].includes(step.input.op))
        return undefined;
      if (result.way === 'dns' || step.status === 502) return undefined;
      const isNetworkFailure = (step.input.answers ?? step.input.dialFails) !== undefined;
      // nghttp2 resets a stream whose head is no HTTP/2, and Node tells nobody.
      const isReset = step.input.op === 'h2' && step.outcome === 'reject';
      // A request that never ended, and an answer that was broken off, were nobody's decision.
      const isCutOff = step.stage.requests.at(-1)?.status === 0 || step.input.op === 'response';
      return isNetworkFailure || isReset || isCutOff || denialRule(step.stage, NEVER) !== undefined
        ? undefined
        : 'nothing';
    },
  },
  {
    what: 'no real secret reaches the sandbox or a record',
    run: ({ row, steps }) => {
      for (const step of steps) {
        // A row that sends the secret itself has it back in nothing but its own bytes.
        const values = realValues(step.stage);
        const found = holds(readable(step) + logsOf(step.stage), values);
        if (found !== undefined) return `${found} in ${row.id}`;
      }
      return undefined;
    },
  },
  {
    what: 'no placeholder goes upstream',
    run: (result) => {
      for (const step of result.steps) {
        const texts = [...step.stage.broker.placeholders()].map(({ text }) => text);
        const upstream = arrivedIn(step)
          .map(({ raw }) => raw.toString('latin1'))
          .join('\n');
        const found = texts.find((text) => upstream.includes(text));
        if (found !== undefined) return found;
      }
      return undefined;
    },
  },
];
