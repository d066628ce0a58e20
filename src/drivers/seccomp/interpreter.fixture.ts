import type { CallData } from './check.ts';

/** Runs a classic BPF program on struct seccomp_data, as the kernel does; with how many instructions it took. */
export function interpret(
  program: Uint8Array,
  call: CallData,
): { readonly value: number; readonly steps: number } {
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const data = seccompData(call);
  let accumulator = 0;
  for (let pc = 0, steps = 1; pc < program.length / 8; pc++, steps++) {
    const operation = code.getUint16(pc * 8, true);
    const k = code.getUint32(pc * 8 + 4, true);
    if (operation === 0x06) return { value: k, steps };
    if (operation === 0x20) accumulator = data.getUint32(k, true);
    else if (operation === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (operation === 0x05) pc += k;
    else {
      const taken = condition(operation, accumulator, k);
      pc += code.getUint8(pc * 8 + (taken ? 2 : 3));
    }
  }
  throw new Error('ran off the end');
}

function condition(operation: number, accumulator: number, k: number): boolean {
  if (operation === 0x15) return accumulator === k;
  if (operation === 0x35) return accumulator >= k;
  if (operation === 0x45) return (accumulator & k) !== 0;
  throw new Error(`unknown operation ${operation}`);
}

function seccompData(call: CallData): DataView {
  const view = new DataView(new ArrayBuffer(64));
  view.setUint32(0, call.nr >>> 0, true);
  view.setUint32(4, call.arch >>> 0, true);
  for (const [index, argument] of call.args.entries()) {
    view.setBigUint64(16 + 8 * index, BigInt.asUintN(64, argument), true);
  }
  return view;
}
