import { Duplex, PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { TREE_ORDER } from './numbers.ts';
import { TreeLink, type TreeSink } from './tree-link.ts';
import { treeRecord, type TreeEvent } from './tree-stream.ts';

/** A machine at the other end of a link, and what the link took of it. */
class Machine implements TreeSink {
  readonly taken: string[] = [];
  readonly orders: number[] = [];
  isIncomplete = false;
  readonly link = new TreeLink(this);
  readonly #says = new PassThrough();

  static async make(): Promise<Machine> {
    const machine = new Machine();
    const hears = new PassThrough();
    hears.on('data', (bytes: Buffer) => machine.orders.push(...bytes));
    const port = Duplex.from({ readable: machine.#says, writable: hears });
    await machine.link.start(port, nothing());
    return machine;
  }

  take({ kind }: TreeEvent): void {
    this.taken.push(kind);
  }

  needsAll(): boolean {
    return this.isIncomplete;
  }

  async says(...records: readonly Buffer[]): Promise<void> {
    this.#says.write(Buffer.concat(records));
    // Until the streams between have passed it on.
    await delay(5);
  }
}

async function* nothing(): AsyncGenerator<Buffer> {
  await Promise.resolve();
  yield Buffer.from([0]);
}

const begin = treeRecord('begin');
const farewell = treeRecord('begin');
farewell.writeUInt8(1, 1);
const end = treeRecord('end');

describe('what a machine sends of its tree', () => {
  it('is taken when it was asked for, and at its end', async () => {
    const machine = await Machine.make();
    const pulled = machine.link.pull();
    await machine.says(begin, end);
    await pulled;
    await machine.says(farewell, end);
    expect(await machine.link.finish(false)).toBeUndefined();
    expect(machine.taken).toEqual(['begin', 'end', 'begin', 'end']);
    expect(machine.orders.slice(1)).toEqual([TREE_ORDER.give, TREE_ORDER.done]);
  });

  it.each([
    ['before anybody asked', [begin, end]],
    ['a second time', [begin, end, begin, end]],
  ])('ends it %s', async (what, records) => {
    const machine = await Machine.make();
    if (what === 'a second time') machine.link.pull().catch(() => undefined);
    await machine.says(...records);
    expect(await machine.link.finish(false)).toMatchObject({ code: 'E_PROTOCOL' });
    expect(machine.taken).toEqual(what === 'a second time' ? ['begin', 'end'] : []);
  });

  it('is not taken any more when it has ended', async () => {
    const machine = await Machine.make();
    await machine.says(farewell, end);
    await machine.says(farewell, end, begin, end);
    expect(machine.taken).toEqual(['begin', 'end']);
    expect(await machine.link.finish(false)).toBeUndefined();
  });

  it('is asked for as a whole once, and has to be whole then', async () => {
    const machine = await Machine.make();
    machine.isIncomplete = true;
    machine.link.pull().catch(() => undefined);
    await machine.says(begin, end);
    // It ends meanwhile, and does not know yet what was asked for.
    await machine.says(farewell, end);
    expect(machine.orders.slice(1)).toEqual([TREE_ORDER.give, TREE_ORDER.giveAll, TREE_ORDER.giveAll]);
    await machine.says(farewell, end);
    expect(await machine.link.finish(false)).toMatchObject({ code: 'E_PROTOCOL' });
  });
});
