import { readFileSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { packageRoot } from '../../base/version.ts';
import type { CodeLanguage } from './contract.ts';
import { encodeKernelFrame } from './frames.ts';

/** How a language's kernel is started, told what to run, and interrupted. */
export interface KernelKind {
  /** The program and a line that takes the kernel itself from the control channel: no code travels in arguments. */
  readonly argv: readonly string[];
  /** File of the kernel in the package. */
  readonly file: string;
  /** The first bytes on the control channel. */
  opening(kernel: Buffer): Buffer;
  cell(id: string, code: string): Buffer;
  /** For kernels that a signal does not reach while they are busy. */
  readonly interrupt?: Buffer;
  /**
   * For kernels whose interrupt can be lost, and is repeated: what follows each repetition. A shell that is about to fork takes the signal
   * alone, and then waits for a program that never had it.
   */
  readonly again?: Buffer;
  /** Debian package that has the program. */
  readonly debian: string;
}

const PYTHON_BOOT =
  'import os;f=os.fdopen(os.dup(3),"rb",0);n=int(f.readline());b=b""\n' +
  'while len(b)<n:b+=f.read(n-len(b))\n' +
  'exec(compile(b,"<glovebox>","exec"))';

/** In a block of its own: cells share the outermost scope. */
const NODE_BOOT =
  "{const f=require('fs');let h='',c=Buffer.alloc(1);while(f.readSync(3,c)&&c[0]!==10)h+=c;" +
  'const b=Buffer.alloc(+h);for(let n=0;n<b.length;)n+=f.readSync(3,b,n,b.length-n,null);' +
  "const s=b.toString();globalThis[Symbol.for('glovebox.kernel.source')]=s;" +
  "const m=new module.constructor('glovebox-kernel');m.paths=[];m._compile(s,'glovebox-kernel')}";

const sized = (kernel: Buffer): Buffer => Buffer.concat([Buffer.from(`${kernel.length}\n`), kernel]);

const PYTHON: KernelKind = {
  argv: ['python3', '-I', '-X', 'utf8', '-c', PYTHON_BOOT],
  file: 'python.py',
  opening: sized,
  cell: (id, code) => encodeKernelFrame('run', id, code),
  debian: 'python3',
};

function node(kind: 'run' | 'typescript'): KernelKind {
  return {
    argv: ['node', '--no-warnings', '-e', NODE_BOOT],
    file: 'javascript.cjs',
    opening: sized,
    cell: (id, code) => encodeKernelFrame(kind, id, code),
    interrupt: encodeKernelFrame('interrupt', '-', ''),
    debian: 'nodejs',
  };
}

const BASH_DONE = '{ __glovebox_done; } 2>/dev/null\n';

/**
 * An interactive bash reads its standard input, here the control channel, and survives an interrupt. The cell runs inside a sourced
 * text, in which bash behaves as in a script: no word about jobs, and `return` and `exit` are quiet.
 */
const BASH: KernelKind = {
  argv: ['/bin/bash', '-c', 'exec "$BASH" --noprofile --norc --noediting -i <&3'],
  file: 'shell.bash',
  opening: (kernel) => kernel,
  cell: (id, code) =>
    Buffer.from(
      `{ __glovebox_begin ${id} ${quoted(code)}; } 2>/dev/null\n` +
        '{ . /dev/fd/43 43<<<\'builtin exec 43<&-; builtin set "$__glovebox_trace"; builtin eval "$__glovebox_code"\'; }' +
        ` </dev/null 40>&- 41>&- 42>&-\n${BASH_DONE}`,
    ),
  again: Buffer.from(BASH_DONE),
  debian: 'bash',
};

export const KERNELS: Readonly<Record<CodeLanguage, KernelKind>> = {
  python: PYTHON,
  javascript: node('run'),
  typescript: node('typescript'),
  bash: BASH,
};

/** One line that bash reads as exactly these bytes (bash(1), QUOTING, `$'…'`); a NUL cannot be said, and is refused before. */
function quoted(code: string): string {
  const plain = /[0-9A-Za-z _./,:=@%+-]/;
  const bytes = [...Buffer.from(code)];
  const text = bytes.map((byte) => {
    const char = String.fromCharCode(byte);
    return byte < 128 && plain.test(char) ? char : `\\x${byte.toString(16).padStart(2, '0')}`;
  });
  return `$'${text.join('')}'`;
}

/** @throws E_INTERNAL when the package is not built */
export function readKernel(kind: KernelKind): Buffer {
  const file = path.join(packageRoot(), 'dist/guest', kind.file);
  try {
    return readFileSync(file);
  } catch (error) {
    throw new GloveboxError('E_INTERNAL', {
      what: `cannot read the kernel ${file}`,
      why: systemCode(error) ?? String(error),
      next: 'Run `npm run build`.',
      cause: error,
    });
  }
}
