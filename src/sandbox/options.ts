import { GloveboxError } from '../base/errors.ts';
import { checkOptions } from './check-options.ts';
import type { GatewayOptions, NetworkEvent } from '../gateway/contract.ts';
import type { NamedDriver, Tier } from '../policy/contract.ts';
import type { NetworkChange } from './network.ts';

/** What a sandbox is made from. Everything left out comes from the organisation, user and trusted project policy. */
export interface SandboxOptions {
  /** A name for `getOrCreate` and `list`; at most one living sandbox of a user has it. */
  readonly name?: string;
  /** Labels of the caller's own, for `list`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Built-in profiles by name. */
  readonly profile?: string | readonly string[];
  /** A policy besides the organisation's and the user's: the path of a file, or the policy itself as an object. */
  readonly policy?: string | Readonly<Record<string, unknown>>;
  /**
   * The one writable tree; default the current directory, and with a `tier` stronger than process a temporary one. Relative paths below
   * are meant inside it.
   */
  readonly workspace?: string;
  /** In place of a workspace: an empty directory that goes with the sandbox. */
  readonly temporary?: boolean;
  /** The workspace inside is a copy; what changes in it waits for a person, see `Sandbox.changes` and `Reviews`. */
  readonly review?: boolean;
  readonly tier?: Tier;
  /** What the container or vm tier is made with; default what the policy says, then (containers) `GLOVEBOX_DRIVER`, then gVisor or QEMU. */
  readonly driver?: NamedDriver;
  /** What stands at `/`: an image of the store by name, or the directory of an unpacked root file system; default the host's own. */
  readonly image?: string;
  /** `host` or `host:port`. */
  readonly allow?: readonly string[];
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  readonly deny?: readonly string[];
  /** Variables of the sandbox's commands. */
  readonly envs?: Readonly<Record<string, string>>;
  /** As in the policy: `{ memory: '1GiB', pids: '256', timeout: '10m' }`. */
  readonly limits?: Readonly<Record<string, string>>;
  /**
   * Tier vm: a command (argv) that is run once, in the machine that later ones of the same plan go on from, so that what it read is in their
   * memory already. It has ended before that machine is saved, gets no variables but PATH, HOME and LANG, and its files in /tmp stay.
   * Default none.
   */
  readonly warmUp?: readonly string[];
  /** Ports of the sandbox to reach on the host's 127.0.0.1: `8080`, or `9000:8080`. */
  readonly publish?: readonly string[];
  /**
   * Life of the sandbox in milliseconds, 0 for no end; default what the policy says, else none; with a `tier` stronger than process five
   * minutes. `setTimeout` sets it anew.
   */
  readonly timeoutMs?: number;
  /** Milliseconds without a command, connection or call after which the sandbox ends; default never. */
  readonly idleTimeoutMs?: number;
  /** Ends the sandbox when aborted. */
  readonly signal?: AbortSignal;
  /** Every decision of the gateway as it is made. */
  readonly onNetwork?: (event: NetworkEvent) => void;
  /** Asked about hosts that no rule knows, where the policy says `ask`; nobody to ask means denial. */
  readonly onAsk?: GatewayOptions['onAsk'];
  /** The policy says `overBudget: pause` and a budget is used up: everything inside stands still until `resume` or `kill`. */
  readonly onPause?: (reason: string) => void;
  /** Other ways to the network than this machine's own, such as a tunnel. Every guard stands before them. */
  readonly transport?: Pick<GatewayOptions, 'resolver' | 'dialler'>;
  /** Host environment that the policy may pass variables from; default `process.env`. */
  readonly hostEnv?: NodeJS.ProcessEnv;
}

/** The way out of a running sandbox. */
export interface Network {
  /**
   * Puts other rules in force within a second and closes what they no longer allow; a policy that is wrong changes nothing. What is
   * not named stays as it was at `create`.
   *
   * @throws E_POLICY_INVALID, E_UNSUPPORTED for a change that a running sandbox cannot take
   */
  update(change: Pick<SandboxOptions, 'policy' | 'profile' | 'allow'>): Promise<NetworkChange>;
  /** Reads the source of a credential again. @throws E_CREDENTIAL_SOURCE; its requests are refused until a later read works */
  refresh(credential: string): Promise<void>;
  /** Ends the use of a credential at once: later requests with it are refused, and those under way are cut, WebSockets and streams too. */
  revoke(credential: string): void;
}

/** What code of others gets where nothing else is said: E2B's life of a sandbox, in milliseconds. */
const STRANGERS_LIFE_MS = 5 * 60_000;

/** A stronger tier is asked for because the code is not trusted: then it sees no directory of the host, and does not live for ever. */
export function withDefaults(options: SandboxOptions): SandboxOptions {
  checkOptions(options);
  if (options.temporary === true && options.workspace !== undefined) {
    throw new GloveboxError('E_USAGE', {
      what: '`workspace` and `temporary` cannot both be given',
      next: 'Name a directory, or let one be made that goes with the sandbox.',
    });
  }
  if (options.review === true && options.temporary === true) {
    throw new GloveboxError('E_USAGE', {
      what: '`review` and `temporary` cannot both be given',
      next: 'Name the workspace whose changes are to be reviewed.',
    });
  }
  if (options.tier === undefined || options.tier === 'process' || options.tier === 'auto') return options;
  const { workspace, review, timeoutMs = STRANGERS_LIFE_MS } = options;
  const { temporary = workspace === undefined && review !== true } = options;
  return { ...options, temporary, timeoutMs };
}
