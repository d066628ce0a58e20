/**
 * `glovebox/testing`: sandboxes in memory for the tests of code that uses the SDK.
 *
 * @module
 */
export { MemoryHost, type CommandRecord, type SandboxHost } from './sandbox/memory/host.ts';
export type {
  CodeAnswer,
  CodeCell,
  CodeDisplay,
  CodeHandler,
  CommandHandler,
  HandlerContext,
  HandlerResult,
  Handlers,
} from './sandbox/memory/handlers.ts';
