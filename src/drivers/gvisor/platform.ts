import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import type { Platform } from './args.ts';
import { runscVersion, tryPlatform, unavailable, type Trial } from './probe.ts';
import { readFinding, rememberFinding } from '../finding.ts';

export interface PlatformInput extends Trial {
  readonly env: NodeJS.ProcessEnv;
  readonly cacheDir: string;
}

/** What was found out about one runsc on one kernel. */
interface Finding {
  readonly platform: Platform;
  readonly version: string;
  /** SHA-256 of the binary. */
  readonly content: string;
  /** The file it was, so that the content need not be read again. */
  readonly file: string;
  readonly kernel: string;
}

/** systrap is the fastest that needs nothing of the machine; ptrace works where a kernel lacks what systrap stands on. */
const ORDER: readonly Platform[] = ['systrap', 'ptrace'];

/**
 * The platform that works here, proven by a guest that booted. Found out once for each runsc and kernel. `GLOVEBOX_GVISOR_PLATFORM` asks for
 * a certain one: kvm is taken only so, because on many machines it is there and hangs.
 *
 * @throws E_TIER_UNAVAILABLE when none works
 */
export async function choosePlatform(input: PlatformInput): Promise<Platform> {
  const wanted = platformsOf(input.env['GLOVEBOX_GVISOR_PLATFORM']);
  const file = path.join(input.cacheDir, `gvisor-${wanted.join('-')}`);
  const identity = identityOf(input.runsc);
  const known = readFinding(file, isFinding);
  if (known?.kernel === release() && wanted.includes(known.platform)) {
    if (known.file === identity) return known.platform;
    if (known.content === contentOf(input.runsc)) return remember(file, { ...known, file: identity });
  }
  const version = runscVersion(input.runsc);
  const { platform, certain } = await firstThatWorks(input, wanted);
  if (!certain) return platform;
  return remember(file, {
    platform,
    version,
    content: contentOf(input.runsc),
    file: identity,
    kernel: release(),
  });
}

function platformsOf(wanted: string | undefined): readonly Platform[] {
  if (wanted === undefined || wanted === '') return ORDER;
  if (wanted === 'systrap' || wanted === 'ptrace' || wanted === 'kvm') return [wanted];
  throw unavailable(`GLOVEBOX_GVISOR_PLATFORM names "${wanted}"`, 'Use systrap, ptrace or kvm, or unset it.');
}

/** A better one that was only late may work the next time, so the next start tries it again. */
async function firstThatWorks(
  input: PlatformInput,
  wanted: readonly Platform[],
): Promise<{ readonly platform: Platform; readonly certain: boolean }> {
  const failures: string[] = [];
  let certain = true;
  for (const platform of wanted) {
    const failure = await tryPlatform(input, platform);
    if (failure === undefined) return { platform, certain };
    failures.push(`${platform}: ${failure.why}`);
    certain &&= !failure.late;
  }
  throw unavailable(
    `no guest boots in the jail (${failures.join('; ')})`,
    'Run `glovebox doctor`: it checks each layer by itself.',
  );
}

/** Changes whenever the file is replaced or written: nobody but root sets the last of these times back. */
function identityOf(file: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
  return [file, dev, ino, size, mtimeNs, ctimeNs].join(' ');
}

function contentOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

function isFinding(value: unknown): value is Finding {
  const keys = ['platform', 'version', 'content', 'file', 'kernel'];
  return typeof value === 'object' && value !== null && keys.every((key) => key in value);
}

function remember(file: string, finding: Finding): Platform {
  rememberFinding(file, finding);
  return finding.platform;
}
