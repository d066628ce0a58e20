import { filterName } from '../src/drivers/seccomp-program.ts';
import { compileSeccomp } from '../src/drivers/seccomp/index.ts';
import { RUNTIME_OPTIONS, type SeccompOptions } from '../src/drivers/seccomp/rules.ts';

/** Every filter a sandbox may ask for. */
export function filters(): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
  const archs = ['x64', 'arm64'] as const;
  return archs
    .flatMap((arch) => optionsFor(arch))
    .map((options) => ({
      name: filterName(options),
      bytes: compileSeccomp(options),
    }));
}

function optionsFor(arch: SeccompOptions['arch']): readonly SeccompOptions[] {
  const profiles = ['default', 'strict', 'debug'] as const;
  const commands = profiles.flatMap((profile) =>
    [false, true].map((nesting) => ({ arch, profile, nesting })),
  );
  const guests = commands.map((options) => ({ ...options, place: 'guest' as const }));
  const recipe = { arch, profile: 'default' as const, nesting: false, place: 'recipe' as const };
  return [...commands, ...guests, recipe, { arch, ...RUNTIME_OPTIONS }];
}
