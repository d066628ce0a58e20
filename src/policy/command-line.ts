import { nearest } from '../base/nearest.ts';
import type { CommandLineLayer, NetworkRule, Origin, PathRule } from './contract.ts';
import { baseProblem, optionBase, resolveBase } from './base-text.ts';
import { DRIVERS } from './driver-names.ts';
import { ENV_NAME, NEVER_PASSED } from './environment-names.ts';
import { isPrivateLiteral, parseHostEntry, HOST_LOOPBACK } from './host-entry.ts';
import { limitValue } from './fragment.ts';
import { shorthandRule } from './network-rules.ts';
import type { EnvRule, Fragment, LimitKey, Located, Scalars } from './layer-types.ts';
import { isGlob, patternBase, pathProblem, resolvePath, type PathBase, type PathUse } from './path-text.ts';
import { problemsError, quoteValue, type PolicyProblem } from './problems.ts';
import { LIMIT_KEYS, type ScalarDraft } from './scalars.ts';
import { durationHint, sizeHint } from './units.ts';

const ORIGIN: Origin = { layer: 'command-line' };

/**
 * The fragment that the options make. Relative paths start at the current directory, as in every shell command.
 *
 * @throws E_POLICY_INVALID with all problems
 */
export function commandLineFragment(layer: CommandLineLayer, from: PathBase): Fragment {
  const problems: PolicyProblem[] = [];
  const fragment: Fragment = {
    layer: 'command-line',
    scalars: scalarsOf(layer, { from, problems }),
    ...(layer.workspace === undefined ? {} : { workspace: { value: layer.workspace, origin: ORIGIN } }),
    read: pathList(layer, 'read', { from, problems }),
    write: pathList(layer, 'write', { from, problems }),
    deny: pathList(layer, 'deny', { from, problems }),
    allow: (layer.allow ?? []).flatMap((text, i) => allowRule(text, i, problems)),
    env: (layer.env ?? []).flatMap((text) => envRule(text, problems)),
  };
  if (problems.length > 0) throw problemsError(problems);
  return fragment;
}

function scalarsOf(layer: CommandLineLayer, input: PathInput): Scalars {
  const { problems } = input;
  const found: ScalarDraft = {};
  if (layer.base !== undefined) found['filesystem.base'] = baseScalar(layer.base, input);
  if (layer.mode !== undefined) found['filesystem.mode'] = { value: layer.mode, origin: ORIGIN };
  if (layer.tier !== undefined) found.tier = { value: layer.tier, origin: ORIGIN };
  const driver = DRIVERS.find((name) => name === layer.driver);
  if (driver !== undefined) found.driver = { value: driver, origin: ORIGIN };
  else if (layer.driver !== undefined) problems.push(driverProblem(layer.driver));
  for (const [name, text] of Object.entries(layer.limits ?? {})) {
    const key = LIMIT_KEYS.find((known) => known === name);
    const value = key === undefined ? undefined : limitOf(key, text);
    if (key === undefined || value === undefined) problems.push(limitProblem(name, text));
    else found[`limits.${key}`] = { value, origin: ORIGIN };
  }
  return found;
}

function driverProblem(text: string): PolicyProblem {
  const near = nearest(text, DRIVERS);
  return {
    key: '--driver',
    found: quoteValue(text),
    expected: `one of ${DRIVERS.join(', ')}`,
    ...(near === undefined ? {} : { nearest: near }),
  };
}

function baseScalar(option: string, { from, problems }: PathInput): Located<string> {
  const text = optionBase(option);
  const why = baseProblem(text);
  if (why === undefined) return { value: resolveBase(text, from), origin: ORIGIN };
  problems.push({
    key: '--image',
    found: quoteValue(option),
    expected: 'the name of an image, or a directory',
    why,
  });
  return { value: 'host', origin: ORIGIN };
}

function limitOf(key: LimitKey, text: string): number | undefined {
  if (key === 'cpu') return numberIn(text, /^[0-9]{1,4}(?:\.[0-9]{1,3})?$/, [0.01, 1024]);
  if (key === 'pids' || key === 'files') return numberIn(text, /^[0-9]{1,10}$/, [1, 2 ** 31 - 1]);
  return limitValue(key, /^[0-9]+$/.test(text) && key !== 'timeout' && key !== 'ttl' ? Number(text) : text);
}

function numberIn(
  text: string,
  pattern: RegExp,
  [least, most]: readonly [number, number],
): number | undefined {
  if (text === 'unlimited') return Infinity;
  const value = pattern.test(text) ? Number(text) : Number.NaN;
  return value >= least && value <= most ? value : undefined;
}

function limitProblem(name: string, text: string): PolicyProblem {
  const key = LIMIT_KEYS.find((known) => known === name);
  if (key === undefined) {
    const near = nearest(name, LIMIT_KEYS);
    return {
      key: name,
      why: `there is no such limit; known: ${LIMIT_KEYS.join(', ')}`,
      ...(near === undefined ? {} : { nearest: near }),
    };
  }
  const isTime = key === 'timeout' || key === 'ttl';
  const isCount = key === 'cpu' || key === 'pids' || key === 'files';
  const expected = isTime ? 'a time such as 90s or 10m' : isCount ? 'a number' : 'a size such as 256MiB';
  const near = isTime ? durationHint(text) : isCount ? undefined : sizeHint(text);
  const option = `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const problem = { key: option, found: quoteValue(text), expected };
  if (near === undefined) return problem;
  // A hint that says the same again: well written, out of range.
  return near === text ? { ...problem, why: 'it is out of range' } : { ...problem, nearest: near };
}

interface PathInput {
  readonly from: PathBase;
  readonly problems: PolicyProblem[];
}

function pathList(
  layer: CommandLineLayer,
  use: Exclude<PathUse, 'protect'>,
  input: PathInput,
): readonly PathRule[] {
  return (layer[use] ?? []).flatMap((text, i) => {
    const problem = pathProblem(text, use, false) ?? globBaseProblem(text, input.from);
    if (problem === undefined) {
      return [
        {
          id: `command-line/${use}[${i}]`,
          path: resolvePath(text, input.from),
          glob: isGlob(text),
          optional: false,
          origin: ORIGIN,
        },
      ];
    }
    input.problems.push({
      key: `--${use}`,
      found: quoteValue(text),
      expected: 'a path',
      why: problem.why,
      ...(problem.hint === undefined ? {} : { nearest: problem.hint }),
    });
    return [];
  });
}

function globBaseProblem(
  text: string,
  from: PathBase,
): { readonly why: string; readonly hint?: string } | undefined {
  if (!isGlob(text) || !isGlob(patternBase(text, from))) return undefined;
  return {
    why: `${patternBase(text, from)} itself holds pattern characters, so what a pattern below it matches would be uncertain`,
  };
}

function allowRule(text: string, index: number, problems: PolicyProblem[]): readonly NetworkRule[] {
  const entry = parseHostEntry(text, 'allow');
  const fail = (why: string, hint?: string): readonly NetworkRule[] => {
    problems.push({
      key: '--allow',
      found: quoteValue(text),
      expected: 'HOST or HOST:PORT',
      why,
      ...(hint === undefined ? {} : { nearest: hint }),
    });
    return [];
  };
  if (!entry.ok) return fail(entry.why, entry.hint);
  if (entry.host === HOST_LOOPBACK && entry.port === undefined)
    return fail('a service on this machine is allowed by its port', `${HOST_LOOPBACK}:5432`);
  const rule = shorthandRule(text, `command-line/allow[${index}]`, ORIGIN);
  // Whoever types the private address of one machine means it.
  return [isPrivateLiteral(rule.host) ? { ...rule, private: true } : rule];
}

function envRule(text: string, problems: PolicyProblem[]): readonly EnvRule[] {
  const equals = text.indexOf('=');
  const name = equals === -1 ? text : text.slice(0, equals);
  if (!ENV_NAME.test(name)) {
    problems.push({ key: '--env', expected: 'NAME or NAME=VALUE', why: 'a name is letters, digits and "_"' });
    return [];
  }
  if (equals !== -1) return [{ name, value: text.slice(equals + 1), origin: ORIGIN }];
  if (!NEVER_PASSED.test(name)) return [{ name, origin: ORIGIN }];
  problems.push({
    key: '--env',
    found: quoteValue(name),
    expected: 'a variable that may pass',
    why: 'it steers a loader or interpreter; set it with NAME=VALUE if the sandbox needs one',
  });
  return [];
}
