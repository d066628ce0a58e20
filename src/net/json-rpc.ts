import { foldCase } from './http-path-case.ts';
import { readEnvelopes } from './json-scan-envelope.ts';
import type { Envelope } from './json-scan-envelope.ts';

/** One JSON-RPC message of the Model Context Protocol, as far as rules look at it. */
export type McpMessage =
  | {
      /** A request or a notification. */
      readonly kind: 'call';
      readonly method: string;
      /** Of `tools/call`. */
      readonly tool?: string;
    }
  /** The answer to a request that the server made. */
  | { readonly kind: 'answer' };

export type McpResult =
  | { readonly ok: true; readonly messages: readonly McpMessage[] }
  | { readonly ok: false; readonly why: string };

export const TOOLS_CALL = 'tools/call';

const WANTED = ['jsonrpc', 'id', 'method', 'params', 'params.name', 'result', 'error'];

/** Reads the body of a POST of MCP's streamable HTTP: one message, or a batch of them (protocol 2025-03-26). */
export function readMcp(bytes: Uint8Array): McpResult {
  const read = readEnvelopes(bytes, WANTED);
  if (!read.ok) return read;
  if (read.envelopes.length === 0) return { ok: false, why: 'an empty batch' };
  const messages: McpMessage[] = [];
  for (const envelope of read.envelopes) {
    const message = readMessage(envelope);
    if ('why' in message) return { ok: false, why: message.why };
    messages.push(message);
  }
  return { ok: true, messages };
}

function readMessage({ values }: Envelope): McpMessage | { readonly why: string } {
  const version = values.get('jsonrpc');
  if (version?.kind !== 'string' || version.text !== '2.0')
    return { why: 'a message without "jsonrpc": "2.0"' };
  const method = values.get('method');
  const answers = ['result', 'error'].filter((name) => values.has(name));
  if (method === undefined)
    return answers.length === 1
      ? { kind: 'answer' }
      : { why: 'a message that is neither a call nor an answer' };
  if (answers.length > 0) return { why: 'a message that is both a call and an answer' };
  if (method.kind !== 'string') return { why: 'a method that is no string' };
  return readCall(method.text, values);
}

function readCall(method: string, values: Envelope['values']): McpMessage | { readonly why: string } {
  if (method !== TOOLS_CALL)
    // Cut where what is written in C cuts it.
    return foldCase(method.replace(/\0.*$/s, '')).trim() === TOOLS_CALL
      ? { why: 'a method that differs from tools/call in spelling only' }
      : { kind: 'call', method };
  const name = values.get('params.name');
  return name?.kind === 'string'
    ? { kind: 'call', method, tool: name.text }
    : { why: 'a tools/call without the name of a tool' };
}
