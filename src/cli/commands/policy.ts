import { GloveboxError } from '../../base/errors.ts';
import type { CliCommand } from '../contract.ts';
import { runVerb, type Verbs } from '../verbs.ts';

const VERBS: Verbs = {
  check: async () => (await import('../policy/check.ts')).checkPolicy,
  explain: async () => (await import('../policy/explain.ts')).explainVerb,
  diff: async () => (await import('../policy/diff.ts')).diffVerb,
  trust: async () => (await import('../policy/trust.ts')).trustVerb,
  untrust: async () => (await import('../policy/trust.ts')).untrustVerb,
  profiles: async () => (await import('../policy/profiles.ts')).profilesVerb,
  import: async () => (await import('../policy/import.ts')).importVerb,
};

export const policyCommand: CliCommand = {
  name: 'policy',
  summary: 'check, explain, compare, trust and import policies',
  usage: `Usage: glovebox policy check [FILE]                check all layers, or one file (also --policy FILE): every problem
       glovebox policy explain [--sources] [OPTIONS] the policy a run with these options would use
       glovebox policy diff [A [B]]                  what widens and what narrows; A and B are files or profile:NAME
       glovebox policy trust [--tighten-only]        show what the policy of this project changes, and accept it
       glovebox policy untrust                       leave it out again
       glovebox policy profiles [NAME]               the built-in profiles, or one of them as it is written
       glovebox policy import srt FILE [--partial]   translate srt settings; --partial leaves out what has no equal
       glovebox policy import egress FILE            translate network settings: of a gateway, E2B, Vercel, Cloudflare or Deno

  -w, --workspace DIR   for check, trust and untrust: the project (default: the current directory)
  -y, --yes             for trust: do not ask
      --sources         for explain: where each line came from, and why
      --json            the same facts for machines

Without names, diff compares the policy without and with what the project policy asks for.
A project policy is glovebox.yaml or .glovebox/policy.yaml in the workspace. It counts only once trusted, and any change of its
bytes ends the trust. OPTIONS are those of \`glovebox run\`.`,
  run: runVerb(VERBS, unknownVerb),
};

function unknownVerb(name: string | undefined, near: string | undefined): GloveboxError {
  if (name === undefined)
    return new GloveboxError('E_USAGE', {
      what: `policy needs one of ${Object.keys(VERBS).join(', ')}`,
      next: 'Run `glovebox help policy`.',
    });
  return new GloveboxError('E_USAGE', {
    what: `there is no policy command "${name}"`,
    next: near === undefined ? 'Run `glovebox help policy`.' : `Did you mean \`glovebox policy ${near}\`?`,
  });
}
