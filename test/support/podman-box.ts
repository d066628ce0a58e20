import { spawnSync } from 'node:child_process';
import { it } from 'vitest';
import { AttackBox } from './attack.ts';
import type { TestPodman } from './podman-engine.ts';

type Ready = Exclude<TestPodman, { readonly missing: string }>;

/** A box whose runs are made by a Podman of the tests, asked for by option. */
export class PodmanBox extends AttackBox {
  readonly engine: Ready;

  constructor(engine: Ready) {
    super('docker');
    this.engine = engine;
  }

  override flags(more: readonly string[] = []): readonly string[] {
    const unbounded = ['memory', 'pids', 'cpu'].filter((name) => !more.includes(`--${name}`));
    return [
      ...super.flags(more),
      ...['--driver', 'podman'],
      ...(this.engine.limits ? [] : unbounded.flatMap((name) => [`--${name}`, 'unlimited'])),
    ];
  }

  override env(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
    return super.env({ GLOVEBOX_DRIVER: '', GLOVEBOX_PODMAN: this.engine.program, ...extra });
  }

  /** What was recorded of one kind, oldest first. */
  recorded(kind: string): readonly Readonly<Record<string, unknown>>[] {
    return this.records()
      .filter((record) => record.kind === kind)
      .map(({ data }) => data);
  }

  /** What `podman` answers, asked from outside. */
  podman(...args: readonly string[]): string {
    return spawnSync(this.engine.program, args, { encoding: 'utf8' }).stdout.trim();
  }

  /** Names of all containers that the engine has. */
  containers(): readonly string[] {
    const names = this.podman('ps', '--all', '--format', '{{.Names}}');
    return names === '' ? [] : names.split('\n');
  }
}

/** A test with Podman, skipped with what is missing for it. */
export function withPodman(
  podman: TestPodman,
  name: string,
  test: (box: PodmanBox) => Promise<void>,
  needs: readonly (string | undefined)[] = [],
): void {
  const missing = [...('missing' in podman ? [podman.missing] : []), ...needs].find(
    (need) => need !== undefined,
  );
  if ('missing' in podman || missing !== undefined) {
    it.skip(`${name} (skipped: ${missing})`, () => undefined);
    return;
  }
  it(name, async () => {
    using box = new PodmanBox(podman);
    await test(box);
  });
}
