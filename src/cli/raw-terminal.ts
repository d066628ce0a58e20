import { execFileSync } from 'node:child_process';

/**
 * Gives every key as it is and passes output on untouched; returns what puts the terminal back as it was. Node's own raw mode leaves output
 * processing on, which would add a carriage return to each that the inner terminal has added. stty(1) is part of every
 * base system.
 *
 * @param terminal a descriptor of it, or `inherit` for our own stdin
 * @throws when it is not a terminal
 */
export function rawTerminal(terminal: number | 'inherit'): () => void {
  const stty = (...args: string[]): string =>
    execFileSync('stty', args, { stdio: [terminal, 'pipe', 'ignore'], encoding: 'utf8' }).trim();
  const before = stty('-g');
  stty('raw', '-echo');
  return () => {
    stty(before);
  };
}
