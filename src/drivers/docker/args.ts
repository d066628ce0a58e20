import path from 'node:path';
import { AGENT_PATH } from '../bubblewrap/args.ts';
import type { Plan } from '../contract.ts';
import type { EngineMount } from './view.ts';

/** A program that starts containers. Podman takes Docker's words. */
export type EngineName = 'docker' | 'podman';

export interface EngineInput {
  readonly engine: EngineName;
  readonly plan: Plan;
  /** Of the sandbox: the container is named after it. */
  readonly id: string;
  readonly image: string;
  readonly mounts: readonly EngineMount[];
  /** The agent binary on the host. */
  readonly agent: string;
  /** Ids on the engine's side; 0 where the caller is root, or where the engine is the caller's own and maps 0 to him. */
  readonly user: { readonly uid: number; readonly gid: number };
  /** Paths of the host. */
  readonly seccomp: string;
  readonly cidfile: string;
  /** Name of an OCI runtime that the engine knows; absent: its default. */
  readonly runtime?: string;
  /** Name of a loaded AppArmor profile; absent: the engine's default where the host has AppArmor. */
  readonly apparmor?: string;
  /** The engine maps users by default (`userns-remap`): then files of the workspace would not be the caller's. */
  readonly remapped: boolean;
  /** CPUs of the machine: an engine refuses more. */
  readonly cpus: number;
  /** Most descriptors of a process inside. */
  readonly files: number;
  /** Most processes that this user may have: podman would raise its limit, and may not everywhere. */
  readonly ownProcesses: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** The container of a sandbox. */
export function containerName(id: string): string {
  return `glovebox-${id}`;
}

/** The agent and the thread of its relay. */
const OWN_PROCESSES = 2;
/** A guest kernel runs on processes of this one: as in the container tier without an engine. */
const GUEST_KERNEL_PROCESSES = 1024;
const GUEST_KERNEL_FACTOR = 2;

/**
 * The command line after the engine's name: `run` for a plan (docker-run(1), podman-run(1)). The container's standard input and output
 * are the channel to its agent, which is all that starts from the command line. Pure.
 */
export function runArgs(input: EngineInput): readonly string[] {
  const { plan, id, user } = input;
  return [
    ...['run', '--rm', '--interactive', '--pull', 'never', '--log-driver', 'none'],
    ...['--name', containerName(id), '--cidfile', input.cidfile],
    ...Object.entries(input.labels).flatMap(([name, value]) => ['--label', `${name}=${value}`]),
    ...['--network', 'none', '--ipc', 'none', '--cgroupns', 'private'],
    ...['--hostname', plan.identity.hostname, '--user', `${user.uid}:${user.gid}`, '--workdir', '/'],
    ...confinement(input),
    ...limits(input),
    '--read-only',
    ...SYSFS.flatMap((target) => ['--tmpfs', `${target}:ro,nosuid,nodev,noexec,size=4096,mode=0555`]),
    ...input.mounts.flatMap((mount) => mountArgs(mount, input)),
    ...['--mount', bindText({ source: input.agent, target: AGENT_PATH, writable: false }, input)],
    ...WORDS[input.engine](input),
    ...['--entrypoint', AGENT_PATH, input.image, 'stdio'],
  ];
}

/** Engines mount a sysfs and the control groups where nothing else is; a sandbox has neither in any tier. */
const SYSFS = ['/sys', '/sys/fs/cgroup'];

function confinement({ user, seccomp, apparmor, runtime }: EngineInput): readonly string[] {
  return [
    ...['--cap-drop', 'ALL'],
    // The agent maps the caller to the sandbox's user, and the kernel lets uid 0 be mapped only by who has this (user_namespaces(7)). It
    // is gone with the step into that namespace, before anything of the user's runs.
    ...(user.uid === 0 ? ['--cap-add', 'SETFCAP'] : []),
    ...['--security-opt', 'no-new-privileges', '--security-opt', `seccomp=${seccomp}`],
    ...(apparmor === undefined ? [] : ['--security-opt', `apparmor=${apparmor}`]),
    ...(runtime === undefined ? [] : ['--runtime', runtime]),
  ];
}

function limits({ plan, runtime, cpus, files }: EngineInput): readonly string[] {
  const { memoryBytes, cpu, pids } = plan.limits;
  const memory = String(memoryBytes);
  return [
    // The same with swap: none.
    ...(memoryBytes === undefined ? [] : ['--memory', memory, '--memory-swap', memory]),
    ...(cpu === undefined ? [] : ['--cpus', String(Math.min(cpu, cpus))]),
    ...(pids === undefined ? [] : ['--pids-limit', String(processes(pids, runtime))]),
    // As in ../gvisor/spec.ts: a guest kernel waits for ever for a process of its own that the host's kernel ended.
    ...(isGuestKernel(runtime) ? ['--oom-score-adj', '1000'] : []),
    ...['--ulimit', 'core=0:0', '--ulimit', `nofile=${files}:${files}`],
  ];
}

function processes(pids: number, runtime: string | undefined): number {
  return isGuestKernel(runtime) ? pids * GUEST_KERNEL_FACTOR + GUEST_KERNEL_PROCESSES : pids + OWN_PROCESSES;
}

/** Whether a runtime of this name puts a kernel of its own between the sandbox and the host's. */
export function isGuestKernel(runtime: string | undefined): boolean {
  return runtime !== undefined && path.basename(runtime).startsWith('runsc');
}

type Bind = Pick<Extract<EngineMount, { kind: 'bind' }>, 'source' | 'target' | 'writable'>;

function mountArgs(mount: EngineMount, input: EngineInput): readonly string[] {
  const { engine, user } = input;
  if (mount.kind === 'bind') return ['--mount', bindText(mount, input)];
  const options = [
    ...[
      'rw',
      'exec',
      'nosuid',
      'nodev',
      `size=${mount.bytes}`,
      `mode=${mount.mode.toString(8).padStart(4, '0')}`,
    ],
    // World-writable ones need no owner, and uid 0 owns them all. Podman, which knows no such option, always has that one.
    ...(mount.mode === 0o1777 || user.uid === 0 ? [] : [`uid=${user.uid}`, `gid=${user.gid}`]),
    // Podman would copy what the image has there.
    ...(engine === 'podman' ? ['notmpcopyup'] : []),
  ];
  return ['--tmpfs', `${mount.target}:${options.join(',')}`];
}

/** Docker has no word for what Podman's `nosuid,nodev` say: `--mount` refuses both, and so does `--volume` (docker-run(1), podman-run(1)). */
function bindText({ source, target, writable }: Bind, { engine }: EngineInput): string {
  const fields = [
    ...['type=bind', `source=${source}`, `target=${target}`],
    ...(writable ? [] : ['readonly']),
    ...(engine === 'podman' ? ['nosuid', 'nodev'] : []),
  ];
  return fields.map(csvField).join(',');
}

/** `--mount` takes one line of RFC 4180. */
function csvField(text: string): string {
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Variables that a client's configuration may add to every container; they can hold a password. */
const PROXY_VARIABLES = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'];

/** What only one of the engines has a word for, or does unless it is told not to. */
const WORDS: Readonly<Record<EngineName, (input: EngineInput) => readonly string[]>> = {
  docker: ({ remapped }) => [
    '--sig-proxy=false',
    ...PROXY_VARIABLES.flatMap((name) => ['--env', `${name}=`, '--env', `${name.toLowerCase()}=`]),
    ...(remapped ? ['--userns', 'host'] : []),
  ],
  podman: ({ ownProcesses }) => [
    ...['--ulimit', `nproc=${ownProcesses}:${ownProcesses}`],
    ...[
      '--sig-proxy=false',
      '--http-proxy=false',
      '--read-only-tmpfs=false',
      '--systemd=false',
      '--no-hosts',
    ],
    ...['--image-volume', 'ignore', '--security-opt', 'mask=/proc/key-users'],
  ],
};
