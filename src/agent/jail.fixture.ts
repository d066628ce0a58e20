import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { spawnAirlock } from './airlock.ts';
import type { Airlock, AirlockLaunch } from './airlock.ts';
import type { AirlockSpec, BootSpec, ExecSpec, Identity, MaskOp } from './contract.ts';
import { locateAgent } from './locate.ts';

/** Real jails for tests: the built agent, bubblewrap, a workspace of its own. */
export const JAIL_ENV = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' } as const;

/** Why real jails cannot run here, or undefined. */
export function jailMissing(): string | undefined {
  if (!existsSync('/usr/bin/bwrap')) return 'bubblewrap is not installed (apt-get install bubblewrap)';
  try {
    locateAgent();
    return undefined;
  } catch {
    return 'the agent is not built (agent/build.sh)';
  }
}

/** Who runs the jail: as root both root and an ordinary user. */
export function identities(): readonly { readonly name: string; readonly identity: Identity | undefined }[] {
  if (process.getuid?.() !== 0) return [{ name: 'this user', identity: undefined }];
  return [
    { name: 'root', identity: undefined },
    { name: 'an ordinary user', identity: { uid: 1000, gid: 1000 } },
  ];
}

/** A place with a workspace, scratch directories and an agent that the identity can execute. */
export class JailSite {
  readonly base: string;
  readonly workspace: string;
  readonly agent: string;
  readonly identity: Identity | undefined;
  #scratches = 0;

  constructor(identity?: Identity) {
    this.identity = identity;
    this.base = mkdtempSync(path.join(tmpdir(), 'glovebox-agent-'));
    chmodSync(this.base, 0o755);
    this.agent = path.join(this.base, 'agent');
    copyFileSync(locateAgent(), this.agent);
    chmodSync(this.agent, 0o755);
    this.workspace = this.directory('ws');
  }

  /** A new directory that belongs to the identity. */
  directory(name: string): string {
    const dir = path.join(this.base, name);
    mkdirSync(dir, { mode: 0o755 });
    this.own(dir);
    return dir;
  }

  own(file: string): void {
    if (this.identity !== undefined) chownSync(file, this.identity.uid, this.identity.gid);
  }

  argv(options: { readonly extra?: readonly string[] } = {}): string[] {
    const lines = [
      '--unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup --disable-userns --as-pid-1',
      '--die-with-parent --clearenv --uid 1000 --gid 1000 --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib',
      `--symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp --bind ${this.workspace} ${this.workspace}`,
      `--ro-bind ${this.agent} /.glovebox/agent`,
    ];
    const inside = ['--remount-ro', '/', '--chdir', '/', '--', '/.glovebox/agent', 'init'];
    return [
      '/usr/bin/bwrap',
      ...lines.flatMap((line) => line.split(' ')),
      ...(options.extra ?? []),
      ...inside,
    ];
  }

  launch(
    boot: BootSpec,
    spec: Partial<AirlockSpec> = {},
    more: Partial<AirlockLaunch> = {},
  ): Promise<Airlock> {
    this.#scratches += 1;
    const scratch = this.directory(`scratch-${this.#scratches}`);
    chmodSync(scratch, 0o700);
    return spawnAirlock({
      agent: this.agent,
      spec: { scratch, network: false, argv: this.argv(), env: JAIL_ENV, ...spec },
      mode: boot.mode,
      stdio: ['ignore', 'ignore', 'ignore'],
      ...(this.identity === undefined ? {} : { identity: this.identity }),
      ...more,
    }).boot(() => boot);
  }

  /** Runs one shell script to its end. */
  async shell(
    script: string,
    masks: readonly MaskOp[] = [],
    boot: Partial<BootSpec> = {},
  ): Promise<ShellResult> {
    const exec: ExecSpec = { argv: ['bash', '-c', script], env: JAIL_ENV, cwd: this.workspace };
    const jail = await this.launch({ mode: 'oneshot', exec, ...boot }, { masks });
    const [stdout, stderr, exit] = await Promise.all([
      collect(jail.session.main.stdout),
      collect(jail.session.main.stderr),
      jail.session.main.exit,
    ]);
    await jail.exited;
    return { stdout, stderr, status: exit.status };
  }

  remove(): void {
    rmSync(this.base, { recursive: true, force: true });
  }
}

export interface ShellResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
}

export async function collect(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk)));
  return Buffer.concat(chunks).toString('utf8');
}

/** Processes whose command line mentions `needle`. */
export function processesNaming(needle: string): number[] {
  const found: number[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      if (readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(needle)) found.push(Number(name));
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

/** Waits until `check` holds; at most `limitMs`. */
export async function until(check: () => boolean, limitMs = 5000): Promise<boolean> {
  for (const end = Date.now() + limitMs; Date.now() < end;) {
    if (check()) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return check();
}
