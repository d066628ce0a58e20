import type { VerifySite } from './site.ts';

/** One attempt to get out of a sandbox. */
export interface Check {
  readonly name: string;
  /** What is tried, in words. */
  readonly tries: string;
  /** For `sh` inside. What it prints is judged; how it ends is not. */
  script(site: VerifySite): string;
  /** What of it succeeded; undefined: nothing. */
  breach(said: string, site: VerifySite): string | undefined;
  /** The refusal that has to stand in the audit log. */
  readonly record?: { readonly host: string; readonly port: number };
  /** Programs that the attempt needs; where the base system lacks one, it is not made. */
  readonly needs?: readonly string[];
}

export interface CheckResult extends Pick<Check, 'name' | 'tries'> {
  /** `skip`: it was not tried, and so says nothing. */
  readonly state: 'pass' | 'fail' | 'skip';
  /** For `fail` and `skip`: why. */
  readonly detail?: string;
}

export interface Verification {
  readonly tier: string;
  readonly driver: string;
  readonly checks: readonly CheckResult[];
  /** All were tried that could be, and none failed. */
  readonly holds: boolean;
}
