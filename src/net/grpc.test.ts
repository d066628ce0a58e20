import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GrpcMessages, isGrpcContentType, isRpcPath, looksLikeRpcPath, parseRpc } from './grpc.ts';
import type { RpcPattern } from './grpc.ts';

function rpc(text: string): RpcPattern {
  const result = parseRpc(text);
  if (!result.ok) throw new Error(result.why);
  return result.rpc;
}

/** Everything in one piece, or what is wrong with it. */
function check(bytes: Uint8Array, messageBytes = 100, compressed = false): string | undefined {
  const messages = new GrpcMessages({ messageBytes, compressed });
  return messages.update(bytes) ?? messages.end();
}

test.each([
  ['pkg.Svc/Get', '/pkg.Svc/Get', true],
  ['pkg.Svc/Get', '/pkg.Svc/Get/', false],
  ['pkg.Svc/Get', '/PKG.SVC/get', false],
  ['pkg.Svc/Get', 'pkg.Svc/Get', false],
  ['pkg.Svc/*', '/pkg.Svc/Delete', true],
  ['pkg.Svc/*', '/pkg.Svc/', false],
  ['pkg.Svc/*', '/pkg.Svc/a/b', false],
  ['pkg.Svc/*', '/pkg.Svcx/a', false],
])('%s %s', (pattern, path, matches) => {
  expect(isRpcPath(rpc(pattern), path)).toBe(matches);
});

test('a refused call is refused in any case', () => {
  expect(looksLikeRpcPath(rpc('pkg.Svc/Get'), '/PKG.SVC/get')).toBe(true);
});

test.each(['', '/pkg.Svc/Get', 'pkg.Svc', 'pkg.Svc/Get*', '*/Get', 'pkg.Svc/a/b', '1a/b'])(
  'refuses %j',
  (text) => {
    expect(parseRpc(text).ok).toBe(false);
  },
);

test('content types', () => {
  expect(
    ['application/grpc', 'application/grpc+proto', 'Application/gRPC+json'].every(isGrpcContentType),
  ).toBe(true);
  expect(
    ['application/grpc-web', 'application/grpc+x', 'application/grpc;a=b', 'text/plain', ''].some(
      isGrpcContentType,
    ),
  ).toBe(false);
});

test('messages', () => {
  expect(check(Uint8Array.of())).toBeUndefined();
  expect(check(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 7, 7))).toBeUndefined();
  expect(check(Uint8Array.of(0, 255, 255, 255, 255))).toContain('4294967295 bytes');
  expect(check(Uint8Array.of(2))).toContain('flag');
  expect(check(Uint8Array.of(1, 0, 0, 0, 0))).toContain('compressed');
  expect(check(Uint8Array.of(1, 0, 0, 0, 0), 100, true)).toBeUndefined();
  expect(check(Uint8Array.of(0, 0, 0))).toContain('cut short');
  expect(check(Uint8Array.of(0, 0, 0, 0, 2, 1))).toContain('cut short');
});

test('pieces of any size give the same answer', () => {
  const message = fc
    .tuple(fc.integer({ min: 0, max: 2 }), fc.uint8Array({ maxLength: 120 }))
    .map(([flag, data]) => [flag, 0, 0, 0, data.length, ...data]);
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 5 }),
      fc.integer({ min: 0, max: 3 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
      (all, cut, sizes) => {
        const bytes = Uint8Array.from(all.flat()).subarray(0, Math.max(0, all.flat().length - cut));
        const messages = new GrpcMessages({ messageBytes: 100, compressed: false });
        let why: string | undefined;
        for (let at = 0; at < bytes.length && why === undefined;) {
          const step = sizes.next().value ?? 1;
          why = messages.update(bytes.subarray(at, at + step));
          at += step;
        }
        expect(why ?? messages.end()).toBe(check(bytes));
      },
    ),
  );
});
