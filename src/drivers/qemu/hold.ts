import type { AgentSession } from '../../agent/session.ts';
import { GloveboxError } from '../../base/errors.ts';
import { inTime } from '../../base/within.ts';
import type { HeldMachine } from '../bubblewrap/driver.ts';
import type { Control } from './control.ts';
import { writeCopy, type CopySource } from './copy.ts';

/** What is on its way to the host has arrived by then, in ms. */
const QUIET_MS = 60_000;

export interface HoldInput extends CopySource {
  readonly control: Pick<Control, 'client' | 'keeper'>;
  readonly session: Pick<AgentSession, 'quiesce' | 'goOn'>;
  /** Told of each stop, for who watches whether it lives. */
  readonly held: (still: boolean) => void;
}

/**
 * A machine that the host stops as a whole, and lets go on. First its keeper holds the sandbox's processes, then QEMU stops; and the other way
 * round: so the clock is right again before any of them runs. One order at a time.
 */
export class MachineHold implements HeldMachine {
  readonly #input: HoldInput;
  #last: Promise<unknown> = Promise.resolve();
  #isHeld = false;

  constructor(input: HoldInput) {
    this.#input = input;
  }

  pause(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#isHeld) return;
      await this.#stop();
      this.#isHeld = true;
    });
  }

  resume(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#isHeld) return;
      await this.#goOn();
      this.#isHeld = false;
    });
  }

  /** What is not sent yet waits: a copy's host knows nothing of this one's half of a message. */
  copy(file: string): Promise<void> {
    const { session } = this.#input;
    return this.#inTurn(async () => {
      try {
        await inTime(QUIET_MS, session.quiesce(), unquiet);
        await this.#stop();
        try {
          await writeCopy(this.#input, file);
        } finally {
          await this.#goOn();
        }
      } finally {
        session.goOn();
      }
    });
  }

  async #stop(): Promise<void> {
    const { control, held } = this.#input;
    const [client, keeper] = await Promise.all([control.client, control.keeper]);
    held(true);
    try {
      await keeper.freeze();
      await client.execute('stop').catch(async (error: unknown) => {
        await keeper.thaw(now());
        throw error;
      });
    } catch (error) {
      held(false);
      throw error;
    }
  }

  async #goOn(): Promise<void> {
    const { control, held } = this.#input;
    const [client, keeper] = await Promise.all([control.client, control.keeper]);
    await client.execute('cont');
    await keeper.thaw(now());
    held(false);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

const now = (): { readonly clockNs: bigint } => ({ clockNs: BigInt(Date.now()) * 1_000_000n });

const unquiet = (): GloveboxError =>
  new GloveboxError('E_TIMEOUT', {
    what: 'the sandbox could not be copied',
    why: `its agent went on speaking for ${QUIET_MS / 1000} s`,
    next: 'Try again, or end the sandbox.',
  });
