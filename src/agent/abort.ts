import { EventEmitter, getMaxListeners, setMaxListeners } from 'node:events';
import { CAPS } from '../base/caps.ts';

/**
 * Calls `listener` when the signal is aborted; answers how to stop that. One signal for many operations is usual, so it is allowed more
 * listeners than the ten at which Node warns of a leak.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => undefined;
  if (getMaxListeners(signal) === EventEmitter.defaultMaxListeners) setMaxListeners(CAPS.streamCount, signal);
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}
