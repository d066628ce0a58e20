import { createHash } from 'node:crypto';
import { accessSync, constants, statSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { bootMoment } from '../../base/boot-clock.ts';
import { GloveboxError } from '../../base/errors.ts';
import type { Accelerator } from './args.ts';
import { tryMachine, type TrialInput } from './trial.ts';
import { readFinding, rememberFinding } from '../finding.ts';

export interface AcceleratorInput extends Omit<TrialInput, 'accelerator' | 'limitMs'> {
  readonly env: NodeJS.ProcessEnv;
  readonly cacheDir: string;
  /** SHA-256 of the guest's kernel. */
  readonly kernelHash: string;
  /** Told once, when it was found out that this machine cannot do better. */
  readonly notice: (line: string) => void;
  /** The device that KVM is used through. */
  readonly device?: string;
}

/** What was found out about one QEMU and one guest kernel on one boot of this machine. */
interface Finding {
  /** Everything that it may depend on. */
  readonly question: string;
  /** Boot of the host. */
  readonly boot: string;
  readonly accelerator: Accelerator;
  /** Why it is not KVM. */
  readonly why?: string;
}

/** A guest that KVM runs is ready within half a second; where KVM is offered and does not work, it hangs and says nothing. */
const TRIAL_MS = 3_000;
/** For whoever asks for KVM, and knows why. */
const ASKED_TRIAL_MS = 20_000;

const DEVICE = '/dev/kvm';

/**
 * KVM where a trial of the real guest has proven it, else TCG. A device that can be opened proves nothing: inside some virtual machines it
 * is there, and guests hang. Found out once for each QEMU, guest kernel and boot of the host. `GLOVEBOX_VM_ACCEL` (`kvm` or `tcg`) asks for one.
 *
 * @throws E_TIER_UNAVAILABLE when the one that was asked for does not work
 */
export async function chooseAccelerator(input: AcceleratorInput): Promise<Accelerator> {
  const wanted = wantedOf(input.env['GLOVEBOX_VM_ACCEL']);
  if (wanted === 'tcg') return 'tcg';
  const file = findingFile(input.cacheDir, wanted);
  const question = questionOf(input);
  const known = readFinding(file, isFinding);
  const isKnown = known?.question === question && (wanted === undefined || known.accelerator === wanted);
  const finding = isKnown
    ? known
    : remember(file, { question, boot: bootMoment().boot, ...(await findOut(input, wanted)) });
  const { accelerator, why = 'it does not work' } = finding;
  if (accelerator === 'kvm') return 'kvm';
  if (wanted === 'kvm')
    throw unavailable(`no guest boots with KVM: ${why}`, 'Unset GLOVEBOX_VM_ACCEL, or set it to tcg.');
  if (!isKnown) input.notice(`vm: no KVM here (${why}), the machine is emulated: slower`);
  return 'tcg';
}

const findingFile = (cacheDir: string, wanted: Accelerator | undefined): string =>
  path.join(cacheDir, `vm-accelerator${wanted === undefined ? '' : `-${wanted}`}`);

/**
 * What the next machine will be executed with, as far as that is known without booting one; undefined when no trial was made since the host
 * started.
 *
 * @throws E_TIER_UNAVAILABLE when `GLOVEBOX_VM_ACCEL` makes no sense
 */
export function knownAccelerator({
  env,
  cacheDir,
  device,
}: Pick<AcceleratorInput, 'env' | 'cacheDir' | 'device'>): Pick<Finding, 'accelerator' | 'why'> | undefined {
  const wanted = wantedOf(env['GLOVEBOX_VM_ACCEL']);
  if (wanted === 'tcg') return { accelerator: 'tcg', why: 'GLOVEBOX_VM_ACCEL asks for it' };
  const why = deviceProblem(device);
  if (why !== undefined) return { accelerator: 'tcg', why };
  const known = readFinding(findingFile(cacheDir, wanted), isFinding);
  return known?.boot === bootMoment().boot ? known : undefined;
}

function wantedOf(value: string | undefined): Accelerator | undefined {
  if (value === undefined || value === '') return undefined;
  if (value === 'kvm' || value === 'tcg') return value;
  throw unavailable(`GLOVEBOX_VM_ACCEL names "${value}"`, 'Use kvm or tcg, or unset it.');
}

function unavailable(why: string, next: string): GloveboxError {
  return new GloveboxError('E_TIER_UNAVAILABLE', { what: 'the vm tier cannot start', why, next });
}

async function findOut(
  input: AcceleratorInput,
  wanted: Accelerator | undefined,
): Promise<Pick<Finding, 'accelerator' | 'why'>> {
  const device = deviceProblem(input.device);
  const limitMs = wanted === undefined ? TRIAL_MS : ASKED_TRIAL_MS;
  const why = device ?? (await tryMachine({ ...input, accelerator: 'kvm', limitMs }));
  return why === undefined ? { accelerator: 'kvm' } : { accelerator: 'tcg', why };
}

/** Undefined when it can be opened. */
function deviceProblem(device = DEVICE): string | undefined {
  try {
    accessSync(device, constants.F_OK);
  } catch {
    return `there is no ${device}`;
  }
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return `${device} may not be opened by this user`;
  }
}

/** A host that was started anew may have another processor below it, without having another kernel. */
function questionOf({ qemu, kernelHash, device }: AcceleratorInput): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(qemu, { bigint: true });
  const file = [qemu, dev, ino, size, mtimeNs, ctimeNs].join(' ');
  const parts = [file, kernelHash, release(), bootMoment().boot, deviceProblem(device) ?? ''];
  return createHash('sha256').update(parts.join('\n')).digest('hex');
}

function isFinding(value: unknown): value is Finding {
  if (typeof value !== 'object' || value === null) return false;
  if (!('question' in value) || !('boot' in value) || !('accelerator' in value)) return false;
  return value.accelerator === 'kvm' || value.accelerator === 'tcg';
}

function remember(file: string, finding: Finding): Finding {
  rememberFinding(file, finding);
  return finding;
}
