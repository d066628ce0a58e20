import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { openAudit, type AuditWriter } from '../audit/writer.ts';
import { CAPS } from '../base/caps.ts';
import { canonicalHash } from '../base/canonical-json.ts';
import { isWithin } from '../base/path-bytes.ts';
import { gloveboxDirs, homeDirectory } from '../base/paths.ts';
import { isAlive, processIdentity } from '../base/process-identity.ts';
import { removeTree } from '../base/remove-tree.ts';
import type { Mount, Plan } from '../drivers/contract.ts';
import { partsOfView } from '../drivers/view-parts.ts';
import type { RecipeRunner, RecipeStep, StepEnd } from '../images/contract.ts';
import { statOf } from '../images/tree.ts';
import type { CommandLineLayer, Policy } from '../policy/contract.ts';
import { loadPolicy } from '../policy/load.ts';
import { Command } from './command.ts';
import { policyContext } from './context.ts';
import { endSandbox } from './end.ts';
import { preparePlan, type PreparedPlan } from './prepare.ts';
import { awaitHello, startSandbox, type StartedSandbox } from './start.ts';

/** Beginning of the name of a step's workspace; who made it follows. */
const WORKSPACES = '/var/tmp/glovebox-bake-';

export interface BakeOptions {
  readonly env: NodeJS.ProcessEnv;
  /** What the steps may reach and spend, besides the policies of the organisation and the user. */
  readonly layer: Pick<CommandLineLayer, 'allow' | 'limits' | 'policyFile' | 'profiles'>;
  readonly signal?: AbortSignal;
}

/** Runs the steps of a recipe: each in a sandbox of its own, whose base system is the image that is made, writable. */
export class SandboxRecipeRunner implements RecipeRunner {
  readonly #options: BakeOptions;

  constructor(options: BakeOptions) {
    this.#options = options;
  }

  /** @throws E_SANDBOX_START, E_POLICY_INVALID, E_POLICY_CEILING, E_ABORTED */
  async run(step: RecipeStep, output: (chunk: Uint8Array) => void): Promise<StepEnd> {
    // The policy wants a workspace; a recipe has none, and an empty directory is the least there is.
    sweepWorkspaces();
    const self = processIdentity(process.pid);
    const workspace = mkdtempSync(`${WORKSPACES}${process.pid}-${self?.startTicks ?? '0'}-`);
    try {
      return await this.#runIn(workspace, step, output);
    } finally {
      await removeTree(workspace);
    }
  }

  async #runIn(workspace: string, step: RecipeStep, output: (chunk: Uint8Array) => void): Promise<StepEnd> {
    const { env, layer } = this.#options;
    const dirs = gloveboxDirs(env);
    const options = { ...layer, workspace, tier: 'process', base: 'host' } as const;
    const resolved = await loadPolicy(policyContext(env, workspace), options);
    const policy = withoutTrees(resolved.policy);
    const prepared = onImage(await preparePlan({ policy, env, home: homeDirectory(env) }), step);
    const audit = openAudit({ stateDir: dirs.state });
    const refused = new Set<string>();
    try {
      const sandbox = await startSandbox({
        prepared,
        policyHash: resolved.hash,
        dirs,
        env,
        audit,
        stdio: ['ignore', 'ignore', 'pipe'],
        publish: [],
        onNetwork: ({ action, host, port, entry }) => {
          if (action === 'deny' && refused.size < CAPS.stepRefusedShown)
            refused.add(entry === 'dns' ? host : `${host}:${port}`);
        },
      });
      const exitCode = await this.#execute(sandbox, audit, { step, output });
      return { exitCode, refused: [...refused] };
    } finally {
      await audit.close();
    }
  }

  async #execute(
    sandbox: StartedSandbox,
    audit: AuditWriter,
    { step, output }: { readonly step: RecipeStep; readonly output: (chunk: Uint8Array) => void },
  ): Promise<number> {
    const { env } = this.#options;
    const signal = AbortSignal.any([
      step.signal,
      ...(this.#options.signal === undefined ? [] : [this.#options.signal]),
    ]);
    let cause: 'lost' | 'exit' = 'lost';
    try {
      await awaitHello(sandbox);
      const argv = typeof step.command === 'string' ? ['/bin/sh', '-c', step.command] : [...step.command];
      const cwd = step.workingDir;
      await audit.write({ kind: 'run.command', sandbox: sandbox.id, data: { argv, cwd } });
      const running = sandbox.session.exec({
        argv,
        env: { ...sandbox.prepared.plan.env, ...sandbox.egress.env, ...step.env },
        cwd,
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      const command = new Command('RUN', running, {
        onStdout: (text) => output(Buffer.from(text)),
        onStderr: (text) => output(Buffer.from(text)),
        signal,
      });
      const { exitCode } = await command.wait();
      cause = 'exit';
      return exitCode;
    } finally {
      await endSandbox({ sandbox, audit, cause, hit: [], env });
    }
  }
}

/** Workspaces, all empty, of builds that were killed. Those of other users are theirs to remove. */
function sweepWorkspaces(): void {
  const [dir, prefix] = [path.dirname(WORKSPACES), path.basename(WORKSPACES)];
  for (const name of readdirSync(dir).filter((one) => one.startsWith(prefix))) {
    const [pid, startTicks] = name.slice(prefix.length).split('-');
    if (startTicks === undefined || isAlive({ pid: Number(pid), startTicks })) continue;
    try {
      rmdirSync(path.join(dir, name));
    } catch {
      // Not ours, or gone.
    }
  }
}

/** What a person's policy shows of the machine has no place in an image. */
function withoutTrees(policy: Policy): Policy {
  return { ...policy, filesystem: { ...policy.filesystem, read: [], write: [] } };
}

/** Ours in every sandbox, whatever the image has. */
const LEFT_OUT = new Set(['proc', 'sys', 'dev', 'tmp', '.glovebox']);
/** Files of /etc that a step must have from us; all others are the image's, to be changed. */
const OWN_ETC = new Set(['/etc/resolv.conf', '/etc/hosts', '/etc/hostname']);

/**
 * A plan for the host's base system, put on the image instead. Everything of the image can be written, but its top level cannot: it is
 * the jail's own root. Inside the step is root in name only: no capability, and no other user or group exists.
 */
function onImage(host: PreparedPlan, step: RecipeStep): PreparedPlan {
  const { plan } = host;
  const { base, own: rest } = partsOfView(plan.view);
  const image = imageMounts(step.root);
  const etc = base.filter(
    (mount) => mount.kind === 'file' && OWN_ETC.has(mount.target) && placeFor(step.root, mount.target),
  );
  const targets = image.flatMap((mount) => (mount.kind === 'bind' ? [mount.target] : []));
  // Its home is the image's /root, so that what an installer leaves there stays.
  const overlays = rest.filter(
    (mount) =>
      mount.kind !== 'dir' &&
      mount.target !== plan.identity.home &&
      !isMaskedFile(mount) &&
      reachable(step.root, mount),
  );
  const baked: Plan = Object.freeze({
    ...plan,
    cwd: step.workingDir,
    view: [...image, ...overlays, ...etc, aptSettings],
    syscalls: { ...plan.syscalls, place: 'recipe' as const },
    env: {
      ...plan.env,
      APT_CONFIG,
      PATH: step.env['PATH'] ?? plan.env['PATH'] ?? '',
      SHELL: '/bin/sh',
      HOME: HOME,
      USER: 'root',
    },
    identity: { ...plan.identity, uid: 0, gid: 0, user: 'root', home: HOME },
    writable: [...plan.writable, ...targets],
  });
  return { plan: baked, policy: host.policy, notices: host.notices, hash: canonicalHash(baked) };
}

const APT_CONFIG = '/.glovebox/apt.conf';
/** apt-get fetches as the user `_apt`, which a step cannot become (apt.conf(5), "APT_CONFIG"). */
const aptSettings: Mount = {
  kind: 'file',
  target: APT_CONFIG,
  content: 'APT::Sandbox::User "root";\n',
  why: 'a step has one user',
};

function imageMounts(root: string): readonly Mount[] {
  const why = 'the image that is made';
  return readdirSync(root)
    .sort()
    .flatMap((name): readonly Mount[] => {
      const [source, target] = [path.join(root, name), `/${name}`];
      const stat = statOf(source);
      if (LEFT_OUT.has(name) || stat === undefined) return [];
      if (stat.isSymbolicLink()) return [{ kind: 'symlink', target, to: readlinkSync(source), why }];
      return stat.isDirectory() ? [{ kind: 'bind', source, target, writable: true, why }] : [];
    });
}

/** Places for our files are made in the copy that is worked on, never through a symlink of it. */
function placeFor(root: string, inside: string): boolean {
  return (
    statOf(`${root}${path.dirname(inside)}`)?.isDirectory() === true &&
    statOf(`${root}${inside}`)?.isFile() === true
  );
}

const HOME = '/root';
/** Private and empty in every sandbox: what is mounted below them is not below the image. */
const SCRATCH = ['/proc', '/sys', '/dev', '/tmp', '/var/tmp'];

const isMaskedFile = (mount: Mount): boolean => mount.kind === 'made' && mount.what === 'masked-file';

/**
 * Where something is mounted below a directory of the image, that place is made in the copy. False where it would be made through a
 * symlink or a file.
 */
function reachable(root: string, mount: Mount): boolean {
  const { target } = mount;
  if (SCRATCH.some((dir) => target !== dir && isWithin(target, dir))) return true;
  const parts = target.split('/').slice(1);
  const isFile =
    mount.kind === 'file' ||
    mount.kind === 'made' ||
    (mount.kind === 'bind' && !statSync(mount.source).isDirectory());
  for (let i = 1; i <= parts.length - (isFile ? 1 : 0); i++) {
    const stat = statOf(`${root}/${parts.slice(0, i).join('/')}`);
    // The top level is the jail's own.
    if (stat === undefined && i === 1) return true;
    if (stat === undefined) mkdirSync(`${root}/${parts.slice(0, i).join('/')}`, { mode: 0o755 });
    else if (!stat.isDirectory()) return i === 1 && LEFT_OUT.has(parts[0] ?? '');
  }
  return true;
}
