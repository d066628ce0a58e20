import { WS_OPCODE, isControl } from './ws-frames.ts';
import type { WsFrame } from './ws-frames.ts';

/** A whole message, or the payload of one control frame. */
export interface WsMessage {
  readonly kind: 'text' | 'binary' | 'control';
  readonly data: Buffer;
  /** The message as one frame. */
  readonly frame: WsFrame;
}

/** Joins the frames of one direction to messages. Precondition: they come from one `WsReader`, which bounds them. */
export class WsAssembler {
  #parts: WsFrame[] = [];
  #held = 0;

  /** Bytes of a message that is not whole. */
  get held(): number {
    return this.#held;
  }

  /** The message that this frame completes; control frames stand for themselves, also between fragments. */
  add(frame: WsFrame): WsMessage | undefined {
    if (isControl(frame.opcode)) return { kind: 'control', data: frame.payload, frame };
    this.#parts.push(frame);
    this.#held += frame.payload.length;
    if (!frame.fin) return undefined;
    const parts = this.#parts;
    this.#parts = [];
    this.#held = 0;
    const opcode = parts[0]?.opcode ?? frame.opcode;
    const data = parts.length === 1 ? frame.payload : Buffer.concat(parts.map((part) => part.payload));
    const kind = opcode === WS_OPCODE.text ? 'text' : 'binary';
    return { kind, data, frame: { fin: true, opcode, payload: data } };
  }
}
