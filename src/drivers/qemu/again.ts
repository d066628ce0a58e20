import { isGloveboxError } from '../../base/errors.ts';

/** What an error says of a machine that may be booted once more: a key of its `context`. */
export interface EarlyEnd {
  /** It ended before it was told anything, as if it had been switched off, and its console is empty. */
  readonly silent: boolean;
}

export interface BootTwice {
  readonly notice: (line: string) => void;
  /** The first time it goes on from a copy, which the second can do without. Default false. */
  readonly isCopy?: boolean;
}

/**
 * Boots a machine, and once more when it ended in its first moments without a word: a guest has no console until late in its boot. Any
 * other end has a reason, which a second boot would only hide; unless it may be the copy that it went on from. `notice` is told of it.
 */
export async function bootTwice<T>(
  boot: () => Promise<T>,
  { notice, isCopy = false }: BootTwice,
): Promise<T> {
  try {
    return await boot();
  } catch (error) {
    const isSilent = isGloveboxError(error) && error.context['silent'] === true;
    const isCopys = isCopy && isGloveboxError(error) && error.code === 'E_SANDBOX_START';
    if (!isSilent && !isCopys) throw error;
    notice(
      isCopys
        ? 'the machine could not go on from the template of its plan, and is started without'
        : 'the machine ended without a word while it booted, and is booted once more',
    );
    return boot();
  }
}
