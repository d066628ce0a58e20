import type { Program } from '../handle.ts';
import { posix } from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { parseDuration, parseSize } from '../../policy/units.ts';
import type { Chamber, CommandSettings, SandboxInfo, SandboxMetrics } from '../chamber.ts';
import { Deadline } from '../deadline.ts';
import type { EndCause, EndReport } from '../end.ts';
import type { Network, SandboxOptions } from '../options.ts';
import type { PublishedPort } from '../publish.ts';
import { MemoryChannel } from './channel.ts';
import type { Handlers } from './handlers.ts';

/** Where the double's workspace is when none is named. */
const WORKSPACE = '/workspace';
const MEMORY = 4 * 1024 ** 3;

export interface MemoryChamberInput {
  readonly options: SandboxOptions;
  readonly handlers: Handlers;
  readonly record: (argv: readonly string[], cwd: string) => void;
  readonly ended: (id: string) => void;
}

/** The double behind a real `Sandbox`. */
export class MemoryChamber implements Chamber {
  readonly id = newId('sbx');
  readonly channel: MemoryChannel;
  readonly settings: CommandSettings;
  readonly programs: Map<number, Program> = new Map();
  readonly ports: readonly PublishedPort[];
  readonly gatewayPorts: readonly number[] = [];
  readonly network: Network;
  readonly #input: MemoryChamberInput;
  readonly #startedAt = Date.now();
  readonly #deadline: Deadline;
  readonly #follow: () => void;
  #state: SandboxInfo['state'] = 'running';
  #report: EndReport | undefined;

  private constructor(input: MemoryChamberInput) {
    const { options, handlers } = input;
    this.#input = input;
    this.channel = new MemoryChannel(handlers);
    const cwd = options.workspace === undefined ? WORKSPACE : posix.resolve('/', options.workspace);
    this.settings = { cwd, env: { HOME: '/home/sandbox', PATH: '/usr/bin:/bin', ...options.envs } };
    this.ports = (options.publish ?? []).map(publishedPort);
    this.network = {
      update: async () => Promise.reject(noNetwork()),
      refresh: async () => Promise.reject(noNetwork()),
      revoke: () => {
        throw noNetwork();
      },
    };
    this.#deadline = this.#makeDeadline(options);
    this.#follow = () => void this.kill();
    options.signal?.addEventListener('abort', this.#follow, { once: true });
  }

  static async start(input: MemoryChamberInput): Promise<MemoryChamber> {
    const { signal } = input.options;
    if (signal?.aborted === true)
      throw new GloveboxError('E_ABORTED', {
        what: 'the start of the sandbox was aborted',
        cause: signal.reason,
      });
    const chamber = new MemoryChamber(input);
    const { files } = chamber.channel;
    for (const dir of [chamber.settings.cwd, '/tmp', '/home/sandbox', '/etc'])
      await files.mkdir(dir, { recursive: true });
    await files.write('/etc/passwd', 'sandbox:x:1000:1000::/home/sandbox:/bin/bash\n');
    await files.write('/etc/group', 'sandbox:x:1000:\n');
    return chamber;
  }

  async info(): Promise<SandboxInfo> {
    const { options } = this.#input;
    const { endAt } = this.#deadline;
    return {
      sandboxId: this.id,
      ...(options.name === undefined ? {} : { name: options.name }),
      metadata: options.metadata ?? {},
      tier: 'memory',
      driver: 'memory',
      workspace: this.settings.cwd,
      startedAt: this.#startedAt,
      ...(endAt === undefined ? {} : { endAt }),
      state: this.#state,
      ownerPid: process.pid,
    };
  }

  async metrics(): Promise<SandboxMetrics> {
    this.refuseEnded();
    const memory = this.#input.options.limits?.['memory'];
    const memTotal = (memory === undefined ? undefined : parseSize(memory)) ?? MEMORY;
    return { timestamp: Date.now(), cpuUsedPct: 0, cpuCount: 1, memTotal, diskUsed: 0, diskTotal: MEMORY };
  }

  record(argv: readonly string[], cwd: string): void {
    this.#input.record(argv, cwd);
  }

  touch(): void {
    this.#deadline.touch();
  }

  refuseEnded(): void {
    if (this.#report !== undefined)
      throw new GloveboxError('E_SANDBOX_CLOSED', { what: `sandbox ${this.id} has ended` });
  }

  async setTimeout(timeoutMs: number): Promise<void> {
    this.refuseEnded();
    this.#deadline.renew(timeoutMs);
  }

  async pause(): Promise<void> {
    this.refuseEnded();
    this.channel.pause();
    this.#state = 'paused';
  }

  async resume(): Promise<void> {
    this.refuseEnded();
    this.channel.resume();
    this.#state = 'running';
  }

  async kill(): Promise<EndReport> {
    return this.#end('killed');
  }

  disconnect(): void {
    // It is ours.
  }

  #makeDeadline(options: SandboxOptions): Deadline {
    const ttl = options.limits?.['ttl'];
    const mostMs = ttl === undefined ? undefined : parseDuration(ttl);
    const ttlMs = options.timeoutMs === 0 ? undefined : options.timeoutMs;
    return new Deadline({
      ...(ttlMs === undefined ? {} : { ttlMs }),
      ...(mostMs === undefined ? {} : { mostMs }),
      ...(options.idleTimeoutMs === undefined ? {} : { idleMs: options.idleTimeoutMs }),
      busy: () => this.channel.busy && this.#state === 'running',
      over: (why) => void this.#end(why),
      persist: () => undefined,
    });
  }

  #end(cause: EndCause): EndReport {
    this.#report ??= this.#endNow(cause);
    return this.#report;
  }

  #endNow(cause: EndCause): EndReport {
    this.#deadline.stop();
    this.#input.options.signal?.removeEventListener('abort', this.#follow);
    this.channel.destroy();
    this.#input.ended(this.id);
    const receipt = { checkedAt: Date.now(), complete: true, items: [] };
    const durationMs = Date.now() - this.#startedAt;
    return { cause, appeared: [], appearedTruncated: false, usage: { hit: [] }, durationMs, receipt };
  }
}

/** `8080`, or `9000:8080` as the host's and the sandbox's. Nothing listens on the host. */
function publishedPort(text: string): PublishedPort {
  const [first = '', second = first] = text.split(':');
  if (!/^\d{1,5}$/.test(first) || !/^\d{1,5}$/.test(second))
    throw new GloveboxError('E_USAGE', { what: `"${text}" is no port to publish` });
  return { hostPort: Number(first), sandboxPort: Number(second) };
}

function noNetwork(): GloveboxError {
  return new GloveboxError('E_UNSUPPORTED', {
    what: 'a sandbox in memory has no network',
    next: 'Try network rules with a real sandbox.',
  });
}
