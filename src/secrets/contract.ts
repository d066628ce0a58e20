import type { RawHeaders } from '../net/http-head.ts';
import type { CredentialPolicy, NetworkRule } from '../policy/contract.ts';

// The shapes down to `BrokerShape` are those of the gateway's contract. The two rooms do not know each other: `sandbox/` hands one to
// the other, and the compiler compares the shapes there.

export interface BrokerVerdict {
  readonly action: 'allow' | 'deny';
  readonly rule: string;
  readonly reason: string;
  readonly source?: string;
  readonly remedy?: string;
}

export type PinState = 'ok' | 'absent' | 'missing' | 'foreign' | 'multiple' | 'misplaced';

export interface OutgoingRequest {
  readonly rule: NetworkRule;
  /** Canonical. */
  readonly host: string;
  readonly port: number;
  /** False: it would leave in clear text, so no secret may go with it. */
  readonly secure: boolean;
  readonly method: string;
  /** Path and query as they came. */
  readonly target: string;
  /** Canonical path, without the query. */
  readonly path: string;
  /** As they came, hop-by-hop ones gone; names in any case. */
  readonly headers: RawHeaders;
  readonly websocket: boolean;
  /** The whole body, where `wantsBody` asked for it. */
  readonly body?: Buffer;
}

export interface PassVerdict {
  readonly state: 'pass';
  readonly target: string;
  readonly headers: readonly string[];
  readonly body?: Buffer;
  /** Names of the credentials that were put in. */
  readonly credential?: string;
  readonly pin?: PinState;
}

export interface RefuseVerdict {
  readonly state: 'refuse';
  /** 403; 502 when the source of the secret failed. */
  readonly status: 403 | 502;
  readonly verdict: BrokerVerdict;
  readonly pin?: PinState;
  readonly foreign?: string;
  readonly alarm?: true;
}

export type CredentialVerdict = PassVerdict | RefuseVerdict;

export interface BodyWatch {
  update(chunk: Uint8Array): BrokerVerdict | undefined;
  end(): BrokerVerdict | undefined;
}

export interface Scrubber {
  /** Answers may come in parts: nothing that is looked for can be cut by them. */
  readonly partsPass: boolean;
  headers(headers: RawHeaders): string[];
  update(chunk: Uint8Array): Uint8Array;
  end(): Uint8Array;
}

export interface BrokerShape {
  wantsBody(request: OutgoingRequest): boolean;
  /** True when the body is a form whose fields are judged: in `authorize` where it is there, else in `watchBody`. */
  readsForm(request: OutgoingRequest): boolean;
  authorize(request: OutgoingRequest): Promise<CredentialVerdict>;
  /** What `authorize` would refuse for the head alone; nothing is revealed. Not for a request whose body it wants. */
  check(request: OutgoingRequest): RefuseVerdict | undefined;
  watchBody(request: OutgoingRequest): BodyWatch | undefined;
  scrubber(host: string, port: number): Scrubber | undefined;
}

/** What a credential is worth right now. `why` never holds anything that a source said. */
export type CredentialStatus =
  | { readonly name: string; readonly state: 'ready' | 'revoked' }
  | { readonly name: string; readonly state: 'failed'; readonly why: string };

/** A host file as the sandbox may see it, or why it must not see it at all. */
export type MaskedFile =
  | {
      readonly state: 'masked';
      readonly path: string;
      readonly content: Buffer;
      readonly replaced: readonly Replacement[];
    }
  | { readonly state: 'refused'; readonly path: string; readonly why: string };

export interface Replacement {
  readonly credential: string;
  readonly field: string;
  /** How often it stood in the file. */
  readonly count: number;
}

/** Something a person should hear of once: a key file that others can read, a source that failed. */
export interface SecretNotice {
  readonly kind: 'warning' | 'source-failed' | 'source-refreshed' | 'revoked';
  /** Absent for warnings. */
  readonly credential?: string;
  readonly message: string;
}

/** Where sources look, and what they may use. */
export interface SourceContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly configDir: string;
  readonly stateDir: string;
  /** Trees that a sandbox may write: no program of a `command` source is looked for below them. */
  readonly untrusted: readonly string[];
  readonly warn: (message: string) => void;
  readonly signal?: AbortSignal;
}

export interface BrokerOptions {
  /** Name of the sandbox, for messages. */
  readonly sandbox: string;
  readonly credentials: readonly CredentialPolicy[];
  readonly hostEnv: Readonly<Record<string, string | undefined>>;
  /** Directories of the encrypted store; those of the environment by default. */
  readonly configDir?: string;
  readonly stateDir?: string;
  /** Trees the sandbox may write, such as its workspace. */
  readonly untrusted?: readonly string[];
  /** Key of the hash that foreign values are recorded by. One per process lets records of several sandboxes be compared. */
  readonly foreignKey?: Uint8Array;
  readonly onNotice?: (notice: SecretNotice) => void;
  /** Milliseconds; only differences count. */
  readonly now?: () => number;
  /** Milliseconds since the epoch, for the dates of AWS signatures; `Date.now` by default. */
  readonly clock?: () => number;
}

/** The credential broker of one sandbox. Inspecting or serialising it shows names and states only. */
export interface Broker extends BrokerShape, AsyncDisposable {
  /** Variables for the sandbox: placeholders, never secrets. */
  environment(): Record<string, string>;
  /** Those of the given variables that hold a secret, with placeholders in its place: one key often has several names. */
  maskedVariables(variables: Readonly<Record<string, string>>): Record<string, string>;
  /** Copies of the host files that the policy exposes, secrets replaced. */
  files(): Promise<readonly MaskedFile[]>;
  /** Real values that are loaded, former ones too, for a scanner. The bytes are the broker's: not kept, not changed. */
  knownSecrets(): Iterable<{ readonly name: string; readonly bytes: Uint8Array }>;
  /** Placeholders that are valid now: a scanner must not take them for leaked keys. */
  placeholders(): Iterable<{ readonly name: string; readonly field: string; readonly text: string }>;
  /** The value of a Basic Authorization header for the host's own use, such as its proxy. Rejects when there is no secret. */
  basicAuthorization(name: string): Promise<string>;
  status(): readonly CredentialStatus[];
  /** A changed policy. Credentials that stay keep their placeholders; those that go are recognised as stale from then on. */
  update(credentials: readonly CredentialPolicy[]): Promise<void>;
  /** Reads the source again. Rejects when it fails; requests are refused until a later read works. */
  refresh(name: string): Promise<void>;
  /** Later requests with it are refused; only `refresh` with another value brings it back. */
  revoke(name: string): void;
  /** Gives new placeholders; the former ones are refused from then on. */
  renew(name: string): void;
  /** Overwrites every secret in memory. Whatever is asked afterwards is refused. */
  dispose(): void;
}
