/**
 * Glovebox: a containment runtime for AI agents.
 *
 * @module
 */
export { Sandbox } from './sandbox/sandbox.ts';
export type { Network, SandboxOptions } from './sandbox/options.ts';
export type { SandboxInfo, SandboxMetrics } from './sandbox/chamber.ts';
export type { SandboxQuery } from './sandbox/listing.ts';
export type { NetworkChange } from './sandbox/network.ts';
export type {
  EntryInfo,
  FileOptions,
  FileReadOptions,
  FilesystemEvent,
  FileWriteOptions,
  SandboxFiles,
  WatchDirOptions,
  WatchHandle,
  WriteData,
  WriteEntry,
} from './sandbox/files.ts';
export type { ListeningPort, SandboxProcess } from './agent/files-contract.ts';
export type { BackgroundOptions, CommandInfo, Commands, CommandWords } from './sandbox/commands.ts';
export { CommandHandle, type HandleOptions } from './sandbox/handle.ts';
export type { Pty, PtyCreateOptions, PtySize } from './sandbox/pty.ts';
export { SandboxPool, type PoolOptions, type TakeOptions } from './sandbox/pool.ts';
export type { ReceiptItem, TeardownReceipt } from './sandbox/receipt.ts';
export {
  Command,
  CommandExitError,
  type CommandOptions,
  type CommandResult,
  type OutputEvent,
} from './sandbox/command.ts';
export type {
  Chart,
  CodeContext,
  CodeContextOptions,
  CodeLanguage,
  Execution,
  ExecutionError,
  Result,
  RunCodeOptions,
} from './sandbox/code/contract.ts';
export { runCodeOnce, type CodeOnce, type CodeReport } from './sandbox/code/one-shot.ts';
export type { CodeDenial, CodeStatus } from './sandbox/code/verdict.ts';
export type { EndReport } from './sandbox/end.ts';
export { Reviews } from './sandbox/reviews.ts';
export type { ReviewOutcome } from './sandbox/review-copy.ts';
export type { Comparison } from './review/compare.ts';
export type { Change, ChangeKind, NodeState, Review } from './review/contract.ts';
export type { ApplyReport } from './review/apply.ts';
export type { SelectOptions } from './review/select.ts';
export type { PublishedPort } from './sandbox/publish.ts';
export { ERRORS, GloveboxError, isGloveboxError, type ErrorCode } from './base/errors.ts';
export { EXIT } from './base/exit-codes.ts';
export type {
  AskAnswer,
  AskReply,
  AskQuestion,
  Dialler,
  NetworkEvent,
  RequestRecord,
  Resolver,
} from './gateway/contract.ts';
export type { Plan } from './drivers/contract.ts';
