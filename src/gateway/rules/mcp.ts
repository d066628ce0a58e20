import { TOOLS_CALL, readMcp } from '../../net/json-rpc.ts';
import type { McpMessage } from '../../net/json-rpc.ts';
import { valuesOf } from '../../net/http-head.ts';
import type { RawHeaders } from '../../net/http-head.ts';
import type { McpRules, NetworkRule } from '../../policy/contract.ts';
import { against, malformed, quoted } from './finding.ts';
import type { Finding } from './finding.ts';
import { isListed } from './names.ts';

type Call = Extract<McpMessage, { kind: 'call' }>;

/** Judges the messages of one POST; a batch passes when each of its messages does. */
export function judgeMcp(
  rule: NetworkRule,
  mcp: McpRules,
  headers: RawHeaders,
  body: Uint8Array,
): Finding | undefined {
  const read = readMcp(body);
  if (!read.ok) return malformed(rule, { part: '.mcp', reason: `the body is no MCP message: ${read.why}` });
  for (const message of read.messages) {
    if (message.kind === 'answer') continue;
    const found = mirrorDiffers(rule, headers, message) ?? judgeCall(rule, mcp, message);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Later revisions repeat method and name in headers, which gateways and servers may route by. */
function mirrorDiffers(rule: NetworkRule, headers: RawHeaders, call: Call): Finding | undefined {
  const differs = (name: string, value: string | undefined): boolean =>
    value !== undefined && valuesOf(headers, name).some((one) => one !== value);
  if (!differs('mcp-method', call.method) && !differs('mcp-name', call.tool)) return undefined;
  const reason = 'the Mcp-Method or Mcp-Name header says something else than the message';
  return malformed(rule, { part: '.mcp', reason });
}

function judgeCall(rule: NetworkRule, mcp: McpRules, call: Call): Finding | undefined {
  if (!passesAlways(call.method) && !isListed(mcp.methods, call.method)) {
    return against(rule, {
      part: '.mcp.methods',
      reason: `${rule.id} does not allow the MCP method ${quoted(call.method)}`,
      remedy: `add ${quoted(call.method)} to \`mcp.methods\` of ${rule.id} in the policy`,
    });
  }
  if (call.method !== TOOLS_CALL || isListed(mcp.tools, call.tool ?? '')) return undefined;
  return against(rule, {
    part: '.mcp.tools',
    reason: `${rule.id} does not allow the MCP tool ${quoted(call.tool ?? '')}`,
    remedy: `add ${quoted(call.tool ?? '')} to \`mcp.tools\` of ${rule.id} in the policy`,
  });
}

/** Without these a client cannot even connect; none of them reaches a tool. */
function passesAlways(method: string): boolean {
  return method === 'initialize' || method === 'ping' || method.startsWith('notifications/');
}
