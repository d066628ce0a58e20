/**
 * Glovebox: a containment runtime for AI agents.
 *
 * @module
 */
export { Sandbox, type Commands, type Network, type SandboxOptions } from './sandbox/sandbox.ts';
export type { NetworkChange } from './sandbox/network.ts';
export {
  Command,
  CommandExitError,
  type CommandOptions,
  type CommandResult,
  type OutputEvent,
} from './sandbox/command.ts';
export type { EndReport } from './sandbox/end.ts';
export type { PublishedPort } from './sandbox/publish.ts';
export { ERRORS, GloveboxError, isGloveboxError, type ErrorCode } from './base/errors.ts';
export { EXIT } from './base/exit-codes.ts';
export type {
  AskAnswer,
  AskQuestion,
  Dialler,
  NetworkEvent,
  RequestRecord,
  Resolver,
} from './gateway/contract.ts';
export type { Plan } from './drivers/contract.ts';
