import { expect, test } from 'vitest';
import { readMcp } from './json-rpc.ts';

const read = (message: unknown) => readMcp(Buffer.from(JSON.stringify(message)));
const call = (method: unknown, params?: unknown) => ({ jsonrpc: '2.0', id: 1, method, params });

test('reads calls, notifications and answers', () => {
  expect(read(call('tools/call', { name: 'echo', arguments: { name: 'other' } }))).toEqual({
    ok: true,
    messages: [{ kind: 'call', method: 'tools/call', tool: 'echo' }],
  });
  expect(
    read([
      call('tools/list'),
      { jsonrpc: '2.0', method: 'notifications/x' },
      { jsonrpc: '2.0', id: 2, result: {} },
    ]),
  ).toEqual({
    ok: true,
    messages: [
      { kind: 'call', method: 'tools/list' },
      { kind: 'call', method: 'notifications/x' },
      { kind: 'answer' },
    ],
  });
});

test.each([
  ['no version', { id: 1, method: 'x' }],
  ['another version', { jsonrpc: '1.0', id: 1, method: 'x' }],
  ['a method that is a number', call(1)],
  ['neither', { jsonrpc: '2.0', id: 1 }],
  ['both', { jsonrpc: '2.0', id: 1, method: 'x', result: 1 }],
  ['two answers', { jsonrpc: '2.0', id: 1, error: {}, result: 1 }],
  ['no tool', call('tools/call', {})],
  ['a tool that is a list', call('tools/call', { name: ['x'] })],
  ['parameters by position', call('tools/call', ['echo'])],
  ['another spelling', call('Tools/Call', { name: 'x' })],
  ['a blank', call('tools/call ', { name: 'x' })],
  ['a NUL behind it', call('tools/call\0x', { name: 'x' })],
  ['another key', { ...call('x'), Method: 'tools/call' }],
  ['an empty batch', []],
  ['a list in a batch', [[call('x')]]],
])('refuses %s', (_name, message) => {
  expect(read(message).ok).toBe(false);
});
