import { parse, type Node } from 'acorn';

/** The global under which a cell finds what the rewriting needs. */
export const HELPER = '__glovebox';

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * Turns what only a module may say into what a script run by the debugger may say: `import x from 'y'` becomes
 * `const x = (await import('y')).default`, `import()` goes through our own loader, `export` is dropped. Everything keeps its line.
 * What does not parse is left as it is: V8 words the error better.
 */
export function rewriteModuleSyntax(code: string): string {
  if (!/\b(?:import|export)\b/.test(code)) return code;
  const edits: Edit[] = [];
  try {
    const program = parse(code, {
      ecmaVersion: 'latest',
      sourceType: 'module',
      allowAwaitOutsideFunction: true,
      allowHashBang: true,
    });
    visit(program, (node) => edits.push(...editsOf(node, code)));
  } catch {
    return code;
  }
  return edits
    .toSorted((one, other) => other.start - one.start)
    .reduce((text, edit) => text.slice(0, edit.start) + edit.text + text.slice(edit.end), code);
}

type Visited = Node & Readonly<Record<string, unknown>>;

function isNode(value: unknown): value is Visited {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}

function visit(node: Node, look: (node: Visited) => void): void {
  if (!isNode(node)) return;
  look(node);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
      if (isNode(child)) visit(child, look);
    }
  }
}

function editsOf(node: Visited, code: string): readonly Edit[] {
  const { start, end } = node;
  switch (node.type) {
    case 'ImportDeclaration':
      return [{ start, end, text: keepLines(importText(node, code), code.slice(start, end)) }];
    case 'ImportExpression':
      return [{ start, end: start + 'import'.length, text: `${HELPER}.import` }];
    case 'ExportNamedDeclaration':
      return isNode(node['declaration'])
        ? [{ start, end: node['declaration'].start, text: '' }]
        : [{ start, end, text: '' }];
    case 'ExportDefaultDeclaration':
      return isNode(node['declaration']) ? [{ start, end: node['declaration'].start, text: '' }] : [];
    default:
      return [];
  }
}

function importText(node: Visited, code: string): string {
  const source = isNode(node['source']) ? code.slice(node['source'].start, node['source'].end) : "''";
  const module = `await ${HELPER}.import(${source})`;
  const specifiers = Array.isArray(node['specifiers']) ? node['specifiers'].filter(isNode) : [];
  const whole = specifiers.find((one) => one.type === 'ImportNamespaceSpecifier');
  const named = specifiers.filter((one) => one !== whole).map((one) => namedText(one));
  if (whole === undefined)
    return named.length === 0 ? `${module};` : `const { ${named.join(', ')} } = ${module};`;
  const rest = named.length === 0 ? '' : ` const { ${named.join(', ')} } = ${nameIn(whole['local'])};`;
  return `const ${nameIn(whole['local'])} = ${module};${rest}`;
}

function namedText(specifier: Visited): string {
  const local = nameIn(specifier['local']);
  const imported = specifier.type === 'ImportDefaultSpecifier' ? 'default' : nameIn(specifier['imported']);
  return `${JSON.stringify(imported)}: ${local}`;
}

/** An identifier, or the string that may stand for one. */
function nameIn(value: unknown): string {
  if (!isNode(value)) return '';
  const name = value['name'] ?? value['value'];
  return typeof name === 'string' ? name : '';
}

const keepLines = (text: string, original: string): string =>
  text + '\n'.repeat(original.split('\n').length - 1);
