import { filterName } from '../src/drivers/seccomp-program.ts';
import { compileSeccomp } from '../src/drivers/seccomp/index.ts';

/** Every filter a sandbox may ask for. */
export function filters(): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
  const archs = ['x64', 'arm64'] as const;
  const profiles = ['default', 'strict', 'debug'] as const;
  return archs.flatMap((arch) =>
    profiles.flatMap((profile) =>
      [false, true].map((nesting) => {
        const options = { arch, profile, nesting };
        return { name: filterName(options), bytes: compileSeccomp(options) };
      }),
    ),
  );
}
