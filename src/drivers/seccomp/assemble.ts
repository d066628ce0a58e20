/** Classic BPF with labels in place of offsets. Every jump goes forward. */
export type Ir =
  | { readonly op: 'load'; readonly offset: number }
  | { readonly op: 'and'; readonly mask: number }
  | {
      readonly op: 'jump';
      readonly test: 'eq' | 'ge' | 'set';
      readonly value: number;
      /** Label; absent: the next instruction. */
      readonly yes?: number;
      readonly no?: number;
    }
  | { readonly op: 'label'; readonly id: number }
  | { readonly op: 'return'; readonly value: number };

/** struct sock_filter of linux/filter.h. */
interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

// linux/bpf_common.h: class | size or operation | mode or source.
const LOAD_WORD = 0x20;
const AND = 0x54;
const JUMP = 0x05;
const RETURN = 0x06;
const TESTS = { eq: 0x15, ge: 0x35, set: 0x45 } as const;

/** BPF_MAXINSNS of linux/bpf_common.h. */
export const MAX_INSTRUCTIONS = 4096;
/** The offsets of a conditional jump are 8 bits wide. */
const MAX_OFFSET = 255;

/** Resolves the labels and encodes: an array of struct sock_filter, little-endian. Throws RangeError when it is too long for the kernel. */
export function assemble(program: readonly Ir[]): Uint8Array {
  const wide = new Set<number>();
  let positions = layout(program, wide);
  while (widen(program, positions, wide)) positions = layout(program, wide);
  const instructions = program.flatMap((ir, index) => encode(ir, index, { positions, wide }));
  if (instructions.length > MAX_INSTRUCTIONS) {
    throw new RangeError(`${instructions.length} instructions; the kernel takes ${MAX_INSTRUCTIONS}`);
  }
  return pack(instructions);
}

interface Layout {
  /** Address of each element of the program. */
  readonly at: readonly number[];
  /** Address of each label. */
  readonly labels: ReadonlyMap<number, number>;
}

function layout(program: readonly Ir[], wide: ReadonlySet<number>): Layout {
  const at: number[] = [];
  const labels = new Map<number, number>();
  let address = 0;
  for (const [index, ir] of program.entries()) {
    at.push(address);
    if (ir.op === 'label') labels.set(ir.id, address);
    else address += wide.has(index) ? 3 : 1;
  }
  return { at, labels };
}

/** Marks the jumps that do not reach; true when one was added, so that the layout has to be made again. */
function widen(program: readonly Ir[], positions: Layout, wide: Set<number>): boolean {
  const before = wide.size;
  for (const [index, ir] of program.entries()) {
    if (ir.op !== 'jump' || wide.has(index)) continue;
    const next = (positions.at[index] ?? 0) + 1;
    const reach = Math.max(distance(ir.yes, next, positions), distance(ir.no, next, positions));
    if (reach > MAX_OFFSET) wide.add(index);
  }
  return wide.size > before;
}

function distance(label: number | undefined, next: number, positions: Layout): number {
  if (label === undefined) return 0;
  const target = positions.labels.get(label);
  if (target === undefined || target < next) throw new RangeError(`label ${label} does not lie ahead`);
  return target - next;
}

function encode(
  ir: Ir,
  index: number,
  made: { readonly positions: Layout; readonly wide: ReadonlySet<number> },
): Instruction[] {
  if (ir.op === 'label') return [];
  if (ir.op === 'jump') {
    return encodeJump(ir, made.positions.at[index] ?? 0, made.wide.has(index), made.positions);
  }
  if (ir.op === 'load') return [{ code: LOAD_WORD, jt: 0, jf: 0, k: ir.offset }];
  if (ir.op === 'and') return [{ code: AND, jt: 0, jf: 0, k: ir.mask }];
  return [{ code: RETURN, jt: 0, jf: 0, k: ir.value }];
}

function encodeJump(
  ir: Extract<Ir, { op: 'jump' }>,
  address: number,
  isWide: boolean,
  positions: Layout,
): Instruction[] {
  const code = TESTS[ir.test];
  if (!isWide) {
    const jt = distance(ir.yes, address + 1, positions);
    return [{ code, jt, jf: distance(ir.no, address + 1, positions), k: ir.value }];
  }
  // BPF_JA has a 32-bit offset: the conditional jump chooses between two of them.
  const ja = (label: number | undefined, next: number): Instruction => {
    const k = label === undefined ? address + 3 - next : distance(label, next, positions);
    return { code: JUMP, jt: 0, jf: 0, k };
  };
  return [{ code, jt: 0, jf: 1, k: ir.value }, ja(ir.yes, address + 2), ja(ir.no, address + 3)];
}

function pack(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, { code, jt, jf, k }] of instructions.entries()) {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, jt);
    view.setUint8(index * 8 + 3, jf);
    view.setUint32(index * 8 + 4, k >>> 0, true);
  }
  return bytes;
}
