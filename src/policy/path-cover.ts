import type { RequestMatch, ValueMatch } from './contract.ts';

/** True when every path of the narrow glob is one of the wide. Answers no when it is not plain to see. */
export function pathCovers(wide: string, narrow: string): boolean {
  if (wide === narrow || wide === '/**') return true;
  if (wide.endsWith('/**')) {
    const tree = wide.slice(0, -2);
    if (!tree.includes('*') && narrow.startsWith(tree) && narrow.length > tree.length) return true;
  }
  if (narrow.includes('*') || wide.includes('**')) return false;
  const [outer, inner] = [wide.split('/'), narrow.split('/')];
  return outer.length === inner.length && outer.every((part, i) => segmentCovers(part, inner[i] ?? ''));
}

/** `*` stands for any characters of one segment. Linear: pieces are looked for from left to right. */
function segmentCovers(pattern: string, text: string): boolean {
  const pieces = pattern.split('*');
  const [head = '', ...rest] = pieces;
  if (rest.length === 0) return pattern === text;
  const tail = rest.pop() ?? '';
  if (!text.startsWith(head) || !text.endsWith(tail) || text.length < head.length + tail.length) return false;
  let at = head.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found === -1) return false;
    at = found + piece.length;
  }
  // An empty segment is no segment that "*" stands for.
  return at + tail.length <= text.length && text !== '';
}

/** True when every request of the narrow match is one of the wide. Answers no when it is not plain to see. */
export function matchCovers(wide: RequestMatch, narrow: RequestMatch): boolean {
  return (
    methodsCover(wide, narrow) &&
    placeCovers(wide, narrow) &&
    valuesCover(wide.query, narrow.query) &&
    valuesCover(wide.headers, narrow.headers)
  );
}

function methodsCover(wide: RequestMatch, narrow: RequestMatch): boolean {
  if (wide.methods === undefined) return true;
  const asked = narrow.rpc === undefined ? narrow.methods : ['POST'];
  return asked?.every((method) => wide.methods?.includes(method)) ?? false;
}

function placeCovers(wide: RequestMatch, narrow: RequestMatch): boolean {
  if (wide.rpc !== undefined) {
    if (narrow.rpc === undefined) return false;
    return (
      wide.rpc === narrow.rpc || (wide.rpc.endsWith('/*') && narrow.rpc.startsWith(wide.rpc.slice(0, -1)))
    );
  }
  if (wide.path === undefined) return true;
  if (narrow.rpc !== undefined) return pathCovers(wide.path, `/${narrow.rpc}`);
  return narrow.path !== undefined && pathCovers(wide.path, narrow.path);
}

type Values = Readonly<Record<string, ValueMatch>>;

function valuesCover(wide: Values | undefined, narrow: Values | undefined): boolean {
  return Object.entries(wide ?? {}).every(([name, value]) => {
    const asked = Object.hasOwn(narrow ?? {}, name) ? narrow?.[name] : undefined;
    return asked !== undefined && valueCovers(value, asked);
  });
}

function valueCovers(wide: ValueMatch, narrow: ValueMatch): boolean {
  if (wide.kind === 'any') return true;
  if (wide.kind === 'regex') return narrow.kind === 'regex' && wide.pattern === narrow.pattern;
  if (narrow.kind !== 'exact' && narrow.kind !== 'prefix') return false;
  if (wide.kind === 'exact') return narrow.kind === 'exact' && wide.value === narrow.value;
  return narrow.value.startsWith(wide.value);
}
