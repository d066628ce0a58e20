import { GloveboxError } from '../base/errors.ts';
import { shown } from './invalid.ts';

/** As in Go: `linux`, `amd64`, and for arm a variant (OCI image specification, "Platform Variants"). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** The platform of this machine, as images name it. */
export function hostPlatform(): Platform {
  const names: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64', arm: 'arm' };
  return { os: 'linux', architecture: names[process.arch] ?? process.arch };
}

/** `linux/arm64`, `linux/arm/v7`: the form that `--platform` takes. */
export function platformText({ os, architecture, variant }: Platform): string {
  return shown([os, architecture, ...(variant === undefined ? [] : [variant])].join('/'));
}

/** @throws E_USAGE */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9._]+))?$/.exec(text);
  const [, os, architecture, variant] = match ?? [];
  if (os === undefined || architecture === undefined)
    throw new GloveboxError('E_USAGE', {
      what: `${shown(text)} is not a platform`,
      next: `Use os/architecture in lower case, such as linux/arm64; this machine is ${platformText(hostPlatform())}.`,
    });
  // As the machine calls itself (uname -m), and as images call it.
  const names: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };
  return {
    os,
    architecture: names[architecture] ?? architecture,
    ...(variant === undefined ? {} : { variant }),
  };
}

/** Variants that go without saying (the registry clients' common reading). */
const PLAIN: Readonly<Record<string, string>> = { amd64: 'v1', arm64: 'v8', arm: 'v7' };

/** True when what is made for the one is what the other asks for. A variant counts where it is asked for. */
export function fitsPlatform(has: Platform, wanted: Platform): boolean {
  return (
    has.os === wanted.os &&
    has.architecture === wanted.architecture &&
    (wanted.variant === undefined || variantOf(has) === variantOf(wanted))
  );
}

function variantOf({ architecture, variant }: Platform): string | undefined {
  return variant ?? PLAIN[architecture];
}

/** True for the first of a platform's variants. */
export function isPlain(platform: Platform): boolean {
  return variantOf(platform) === PLAIN[platform.architecture];
}

/**
 * Nothing of another platform is taken for this one's: its programs would not start, and the message would be about the program.
 *
 * @throws E_IMAGE_PLATFORM
 */
export function expectPlatform(has: Platform | undefined, wanted: Platform): void {
  // Old exports say nothing about it; what they hold shows when it runs.
  if (has === undefined || fitsPlatform(has, wanted)) return;
  throw wrongPlatform('the image', [has], wanted);
}

/** Names both sides, and how to get the right one or keep the other on purpose. */
export function wrongPlatform(what: string, has: readonly Platform[], wanted: Platform): GloveboxError {
  const found = [...new Set(has.map(platformText))].slice(0, 20);
  const asked = platformText(wanted);
  return new GloveboxError('E_IMAGE_PLATFORM', {
    what: `${what} is for ${found.join(', ') || 'no platform that it names'}, not for ${asked}`,
    next:
      `Pull or export it for ${asked} (\`docker pull --platform ${asked}\`, \`skopeo copy --override-arch ${wanted.architecture}\`); ` +
      `to keep one that cannot run here as it is, name its platform: --platform ${found[0] ?? 'OS/ARCHITECTURE'}.`,
    context: { found, wanted: asked },
  });
}
