import { AgentSession } from '../../agent/session.ts';
import type { AgentChannel } from '../../agent/contract.ts';
import { GloveboxError } from '../../base/errors.ts';
import { gloveboxDirs } from '../../base/paths.ts';
import type { Chamber, CommandSettings, ProgramsElsewhere, SandboxInfo, SandboxMetrics } from '../chamber.ts';
import type { EndReport } from '../end.ts';
import type { Program, ProgramInfo } from '../handle.ts';
import { isRecord, readInfo } from '../listing.ts';
import type { Network } from '../options.ts';
import { RunRegistry } from '../registry.ts';
import { askOwner, openSession } from './client.ts';
import type { AttachRequest } from './contract.ts';
import { reachProgram, readProgram, tellProgram } from './program-client.ts';

/**
 * A sandbox that another process owns, or this one under another handle.
 *
 * @throws E_SANDBOX_NOT_FOUND, E_SANDBOX_CLOSED
 */
export async function connectChamber(id: string, env: NodeJS.ProcessEnv): Promise<Chamber> {
  const entry = new RunRegistry(gloveboxDirs(env).state).living().find((one) => one.id === id);
  const path = entry?.served?.socket;
  if (path === undefined) {
    throw new GloveboxError('E_SANDBOX_NOT_FOUND', { what: `no living sandbox of yours has the id ${id}` });
  }
  const { socket, value } = await openSession(path);
  const facts = readFacts(value);
  if (facts === undefined) {
    socket.destroy();
    throw somethingElse();
  }
  const channel = new AgentSession(socket, { airlock: false });
  // It stands still since its first line was read.
  socket.resume();
  await channel.hello;
  return new RemoteChamber({ id, path, channel, facts });
}

interface Facts {
  readonly info: SandboxInfo;
  readonly settings: CommandSettings;
  readonly gatewayPorts: readonly number[];
}

interface RemoteInput {
  readonly id: string;
  readonly path: string;
  readonly channel: AgentSession;
  readonly facts: Facts;
}

class RemoteChamber implements Chamber {
  readonly id: string;
  readonly channel: AgentChannel;
  readonly settings: CommandSettings;
  readonly programs: Map<number, Program> = new Map();
  readonly elsewhere: ProgramsElsewhere;
  readonly ports = [];
  readonly gatewayPorts: readonly number[];
  readonly network: Network;
  readonly #session: AgentSession;
  readonly #path: string;
  #end: Promise<EndReport> | undefined;
  #left = false;

  constructor({ id, path, channel, facts }: RemoteInput) {
    this.id = id;
    this.channel = channel;
    this.#session = channel;
    this.#path = path;
    this.settings = facts.settings;
    this.gatewayPorts = facts.gatewayPorts;
    this.elsewhere = {
      list: async () => readPrograms(await this.#ask({ ask: 'programs' })),
      open: (which, cursor) =>
        reachProgram(path, { ask: 'program', ...which, ...(cursor === undefined ? {} : { cursor }) }),
      tell: (which, lines) => tellProgram(path, which, lines),
    };
    this.network = {
      update: async () => Promise.reject(ownersOnly()),
      refresh: async () => Promise.reject(ownersOnly()),
      revoke: () => {
        throw ownersOnly();
      },
    };
  }

  async info(): Promise<SandboxInfo> {
    const info = readInfo(await this.#ask({ ask: 'info' }));
    if (info === undefined) throw somethingElse();
    return info;
  }

  async metrics(): Promise<SandboxMetrics> {
    return answerOf(await this.#ask({ ask: 'metrics' }), isMetrics);
  }

  record(): void {
    // The owner does, before it lets a command through.
  }

  touch(): void {
    // So too with this: what comes over the socket counts as use.
  }

  refuseEnded(): void {
    if (this.#end === undefined && !this.#left) return;
    throw new GloveboxError('E_SANDBOX_CLOSED', {
      what: `sandbox ${this.id} has ${this.#left ? 'been let go' : 'ended'}`,
    });
  }

  async setTimeout(timeoutMs: number): Promise<void> {
    await this.#ask({ ask: 'set-timeout', timeoutMs });
  }

  async pause(): Promise<void> {
    await this.#ask({ ask: 'pause' });
  }

  async resume(): Promise<void> {
    await this.#ask({ ask: 'resume' });
  }

  kill(): Promise<EndReport> {
    this.#end ??= this.#ask({ ask: 'kill' }).then((report) => answerOf(report, isReport));
    return this.#end;
  }

  disconnect(): void {
    this.#left = true;
    this.#session.destroy();
  }

  #ask(request: AttachRequest): Promise<unknown> {
    return askOwner(this.#path, request);
  }
}

function readFacts(value: unknown): Facts | undefined {
  const info = readInfo(value);
  if (info === undefined || !isRecord(value) || !isRecord(value['settings'])) return undefined;
  const { cwd, env } = value['settings'];
  const ports = value['gatewayPorts'];
  if (typeof cwd !== 'string' || !isStrings(env) || !Array.isArray(ports)) return undefined;
  return { info, settings: { cwd, env }, gatewayPorts: ports.filter((port) => typeof port === 'number') };
}

const isStrings = (value: unknown): value is Readonly<Record<string, string>> =>
  isRecord(value) && Object.values(value).every((one) => typeof one === 'string');

function readPrograms(value: unknown): readonly ProgramInfo[] {
  if (!Array.isArray(value)) throw somethingElse();
  return value.flatMap((one) => readProgram(one) ?? []);
}

function ownersOnly(): GloveboxError {
  return new GloveboxError('E_UNSUPPORTED', {
    what: 'the network of a sandbox is changed by the process that made it',
    next: 'Ask that process, or start a sandbox with the other policy.',
  });
}

function answerOf<T>(value: unknown, fits: (value: unknown) => value is T): T {
  if (fits(value)) return value;
  throw somethingElse();
}

const isMetrics = (value: unknown): value is SandboxMetrics =>
  isRecord(value) && typeof value['timestamp'] === 'number' && typeof value['cpuUsedPct'] === 'number';

const isReport = (value: unknown): value is EndReport =>
  isRecord(value) &&
  typeof value['cause'] === 'string' &&
  isRecord(value['receipt']) &&
  isRecord(value['usage']);

function somethingElse(): GloveboxError {
  return new GloveboxError('E_PROTOCOL', { what: 'the owner of the sandbox answered with something else' });
}
