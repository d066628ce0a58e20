import { existsSync, readdirSync, watch } from 'node:fs';
import path from 'node:path';
import { spawnAirlock, type Airlock } from '../../agent/airlock.ts';
import type { BootSpec } from '../../agent/contract.ts';
import { deferred } from '../../agent/process.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError } from '../../base/errors.ts';
import { isAlive, processIdentity } from '../../base/process-identity.ts';
import type { Assembly } from '../bubblewrap/assembly.ts';
import { collectComplaint, type OutsidePart } from '../bubblewrap/driver.ts';
import { maskOp, scratchFile, type AirlockInput } from '../bubblewrap/spec.ts';
import { RLIMIT, UNLIMITED } from '../limits/rlimits.ts';
import { seccompProgram } from '../seccomp-program.ts';
import { shareArgv, shareJailArgs, type FileServer, type ShareJailInput } from './args.ts';
import type { Mask, Mount } from '../contract.ts';
import { PLACES, type ShareName } from './layout.ts';

/** What is checked before the server starts, by paths of the sandbox. */
export type Checks = Pick<BootSpec, 'verify' | 'identities'>;

export interface ShareInput extends Omit<AirlockInput, 'plan'>, Pick<ShareJailInput, 'reopens'> {
  /** Over the files of the mounts. */
  readonly masks: readonly Mask[];
  readonly name: ShareName;
  readonly server: FileServer;
  readonly mounts: readonly Mount[];
  /** What the airlock puts together of the base system. */
  readonly assembly?: Pick<Assembly, 'files' | 'entries'>;
  /** Directory of the host for the server's socket. */
  readonly sockets: string;
  /** It takes over from the server of the machine that this one is a copy of. Default false. */
  readonly succeeds?: boolean;
}

/** A file server of one machine, in a jail of its own: what it does not see, nobody inside can ask it for. */
export interface Share {
  readonly name: ShareName;
  /** The outermost process of its jail, once that has booted. */
  outside(): readonly OutsidePart[];
  /** Checks what the sandbox's boot has to check of files and starts the server; resolves when it listens. */
  boot(make: (ready: Airlock['ready']) => Promise<Checks>): Promise<void>;
  kill(): Promise<void>;
  /** Resolves with the server's last words when it is gone, once it had listened. */
  readonly ended: Promise<string>;
}

/** @throws E_TIER_UNAVAILABLE when there is none */
export function serverOf(server: FileServer | undefined): FileServer {
  if (server !== undefined) return server;
  throw new GloveboxError('E_TIER_UNAVAILABLE', {
    what: 'the vm tier cannot share files with its machine',
    why: 'virtiofsd is not installed',
    next: 'Run scripts/setup-vm.sh, set GLOVEBOX_VIRTIOFSD, or use an image as the base system: without virtiofsd the workspace is copied then.',
  });
}

export function spawnShare(input: ShareInput): Share {
  const { agent, scratch, cgroups, masks, bubblewrap, assembly, mounts } = input;
  const [, ...words] = shareJailArgs(input);
  const airlock = spawnAirlock({
    agent,
    mode: 'oneshot',
    stdio: ['ignore', 'pipe', 'pipe'],
    spec: {
      cgroups,
      scratch,
      masks: masks.map(maskOp),
      files: [...(assembly?.files ?? []), ...mounts.flatMap(scratchFile)],
      ...(assembly === undefined ? {} : { assembled: assembly.entries }),
      argv: [bubblewrap, ...words],
      env: {},
      network: false,
    },
  });
  const { promise: ended, resolve: end } = deferred<string>();
  const parts: OutsidePart[] = [];
  const booted: { jail?: Airlock } = {};
  return {
    name: input.name,
    outside: () => parts,
    ended,
    // Its locks on placeholders go with the last process of its jail, which is after the outermost one.
    kill: async () => void (await Promise.all([airlock.kill(), booted.jail?.session.closed])),
    boot: async (make) => {
      const jail = await airlock.boot(async (ready) => shareBoot(input, await make(ready)));
      booted.jail = jail;
      parts.push(...processPart(jail.child.pid));
      const complaint = collectComplaint(jail.child);
      await listening(jail, path.join(input.sockets, input.name), complaint);
      void jail.exited.then(() => end(complaint()));
    },
  };
}

function processPart(pid: number | undefined): readonly OutsidePart[] {
  const identity = pid === undefined ? undefined : processIdentity(pid);
  if (identity === undefined) return [];
  return [{ kind: 'process', name: String(identity.pid), present: () => isAlive(identity) }];
}

async function shareBoot(
  { name, server, reopens = false, succeeds = false }: ShareInput,
  { verify = [], identities = [] }: Checks,
): Promise<BootSpec> {
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  return {
    mode: 'oneshot',
    verify: verify.map((one) => ({ ...one, path: inView(one.path) })),
    identities: identities.map((one) => ({ ...one, path: inView(one.path) })),
    seccomp: await seccompProgram({ arch, profile: 'default', nesting: false }),
    keepCapabilities: reopens,
    exec: {
      argv: shareArgv(server, { name, loader: loaderOf(server), succeeds }),
      env: {},
      cwd: '/',
      stdio: ['null', 'null', 'inherit'],
      // It holds a descriptor for each file that the guest knows of. A command would have 1024.
      limits: [{ resource: RLIMIT.NOFILE, soft: UNLIMITED, hard: UNLIMITED }],
    },
  };
}

const inView = (inside: string | Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(PLACES.view), Buffer.from(inside)]);

/** The dynamic loader that stands beside the server's own libraries. */
function loaderOf({ libraries }: FileServer): string {
  if (libraries === undefined) return '';
  const found = readdirSync(libraries).find((name) => /^ld-linux.*\.so\.\d+$/.test(name));
  if (found !== undefined) return found;
  throw new GloveboxError('E_TIER_UNAVAILABLE', {
    what: 'the vm tier cannot share the workspace',
    why: `${libraries} has no dynamic loader`,
    next: 'Run scripts/setup.sh again: it unpacks virtiofsd with its libraries.',
  });
}

/** Resolves when the socket is there; the server makes it when it can answer. */
async function listening(jail: Airlock, socket: string, complaint: () => string): Promise<void> {
  const directory = path.dirname(socket);
  const watcher = watch(directory);
  let timer: NodeJS.Timeout | undefined;
  const there = new Promise<void>((resolve, reject) => {
    watcher.on('change', () => existsSync(socket) && resolve());
    watcher.on('error', reject);
    timer = setTimeout(
      () => reject(notThere(`no socket within ${CAPS.machineStartMs} ms`)),
      CAPS.machineStartMs,
    );
    // Before it ends, the jail says why: a mask that does not hold, for one.
    const { hello } = jail.session;
    void jail.exited.then(() => hello.then(() => reject(notThere(complaint())), reject));
    if (existsSync(socket)) resolve();
  });
  try {
    await there;
  } finally {
    clearTimeout(timer);
    watcher.close();
  }
}

function notThere(why: string): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', { what: 'the file server of the machine did not start', why });
}
