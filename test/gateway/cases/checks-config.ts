import { Judge } from '../../../src/gateway/decide.ts';
import type { LoadedDocument } from '../../../src/policy/import/load-document.ts';
import type { Finding, Phrase } from './checks.ts';
import { lastOf } from './evidence.ts';
import type { Result } from './run.ts';
import { runHttp } from './run-http.ts';
import { runName } from './run-name.ts';
import { Run } from './session.ts';
import { stageFor } from './stage.ts';

/** What the row's configuration loaded as; undefined when it did not. */
function loadedOf(result: Result): LoadedDocument | undefined {
  const loaded: unknown = lastOf(result).facts?.['loaded'];
  return typeof loaded === 'object' && loaded !== null && 'network' in loaded
    ? (loaded as LoadedDocument)
    : undefined;
}

function allows(result: Result, host: string, port: number): boolean {
  const loaded = loadedOf(result);
  if (loaded === undefined) return false;
  // What a rule says counts when the rule can be connected to; the judge of the gateway is the one that decides.
  return new Judge(loaded.network).decide(host, port).action === 'allow';
}

const SPECIAL = ['169.254.169.254', 'metadata.google.internal', 'localhost', '127.0.0.1', '10.0.0.1'];

/** Phrases about configurations. */
export const configChecks: readonly Phrase[] = [
  {
    pattern: /every connection denied/,
    check: (result) =>
      ['api.allowed.test', 'evil.test', '93.184.216.34'].find((host) => allows(result, host, 443)),
  },
  {
    pattern: /(\d+) passes, (\d+) does not/,
    check: (result, [, yes, no]) => {
      if (!allows(result, 'api.allowed.test', Number(yes))) return `${yes} is refused`;
      return allows(result, 'api.allowed.test', Number(no)) ? `${no} passes` : undefined;
    },
  },
  {
    pattern: /([\w.-]+\.\w+) (?:stays )?denied/,
    check: (result, [, host = '']) =>
      loadedOf(result) !== undefined && allows(result, host, 443) ? `${host} passes` : undefined,
  },
  {
    pattern: /warning is given/,
    check: (result) => (lastOf(result).reply.toString() === '[]' ? 'no notice' : undefined),
  },
  {
    pattern: /structural denials still hold/,
    check: (result) => SPECIAL.find((host) => allows(result, host, 443) || allows(result, host, 80)),
  },
  {
    pattern: /never silently inverted/,
    check: (result) => {
      if (lastOf(result).outcome === 'config-error') return undefined;
      return lastOf(result).reply.toString() === '[]' ? 'it loads without a word' : undefined;
    },
  },
  { pattern: /(\/\S+) is outside/, check: isOutside },
  {
    pattern: /(\S+) still passes, (\S+) still denied|no half-applied state/,
    check: async (result, [, yes = 'api.allowed.test', no = 'evil.test']) => {
      const { run } = result;
      const passed = await runName(run, { op: 'name', host: yes, port: 443 });
      const denied = await runName(run, { op: 'name', host: no, port: 443 });
      return `${passed.outcome} ${denied.outcome}` === 'allow deny'
        ? undefined
        : `${passed.outcome} ${denied.outcome}`;
    },
  },
];

/** A path right beside the allowed ones, asked of a gateway that runs the configuration. */
async function isOutside(result: Result, [, path = '']: RegExpExecArray): Promise<Finding> {
  const { suite } = result.run;
  const loaded = loadedOf(result);
  if (loaded === undefined) return 'it does not load';
  const stage = await stageFor(suite, result.row, { network: loaded.network });
  const run = new Run(suite, result.row, {}, stage);
  const host = loaded.network.allow[0]?.host ?? '';
  const ask = async (target: string): Promise<string> => {
    const raw = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    return (await runHttp(run, { op: 'http', dst: `${host}:443`, raw })).outcome;
  };
  const inside = `${path.slice(0, -1)}/inside`;
  const got = `${await ask(inside)} ${await ask(path)}`;
  await run.close();
  return got === 'allow deny' ? undefined : got;
}
