import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { locateAgent } from '../../../src/agent/locate.ts';
import type { TestBox } from '../box.ts';

/** What the first process of a machine does in place of what it should. */
export type Fault =
  /** It ends at once, which is a panic of the kernel. */
  | 'die'
  /** The channel is full of what is no frame. */
  | 'garbage'
  /** The console is full of text, ten times what is kept, and then it ends. */
  | 'console'
  /** It switches the machine off at once, without a word. */
  | 'silent'
  /** The machine never switches itself off: its real first process runs in a pid namespace. */
  | 'stays'
  /** The kernel panics when a program `sleep` runs in the sandbox. */
  | 'panic';

/** An agent with a fault in machines, and none elsewhere. */
export function faultyAgent(box: TestBox, fault: Fault): string {
  const file = path.join(box.base, `agent-${fault}`);
  const source = path.resolve(import.meta.dirname, 'init.c');
  const words = [`-DREAL="${locateAgent()}"`, `-DFAULT="${fault}"`, '-static', '-O1', '-o', file, source];
  execFileSync('cc', words);
  return file;
}
