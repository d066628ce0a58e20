import { GloveboxError } from '../base/errors.ts';

/** A port of the sandbox that is reachable on the host's 127.0.0.1. */
export interface PublishedPort {
  readonly hostPort: number;
  readonly sandboxPort: number;
}

/** Reads `8080` or `9000:8080` (host port first; 0 picks a free one). */
export function parsePublish(text: string): PublishedPort {
  const match = /^(?:(\d{1,5}):)?(\d{1,5})$/.exec(text);
  const sandboxPort = Number(match?.[2]);
  const hostPort = match?.[1] === undefined ? sandboxPort : Number(match[1]);
  if (match === null || sandboxPort < 1 || sandboxPort > 65_535 || hostPort > 65_535) {
    throw new GloveboxError('E_USAGE', {
      what: `--publish ${text} is not a port`,
      next: 'Use --publish 8080, or --publish 9000:8080 for another port on the host. It is always on 127.0.0.1.',
    });
  }
  return { hostPort, sandboxPort };
}
