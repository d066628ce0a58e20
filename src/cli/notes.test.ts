import { beforeEach, describe, expect, it } from 'vitest';
import type { NetworkEvent } from '../gateway/contract.ts';
import { Notes, RefusalNotes } from './notes.ts';

/** Keeps what would be written to stderr. */
class HeardNotes extends Notes {
  readonly said: string[] = [];
  readonly details: string[] = [];

  override say(text: string): void {
    this.said.push(text);
  }

  override detail(text: string): void {
    this.details.push(text);
  }
}

let notes: HeardNotes;
let refusals: RefusalNotes;
beforeEach(() => {
  notes = new HeardNotes({ quiet: false, verbose: true, json: false });
  refusals = new RefusalNotes(notes);
});

function refused(more: Partial<NetworkEvent> = {}): NetworkEvent {
  return {
    action: 'deny',
    rule: 'default.deny',
    reason: 'no rule allows a.test',
    entry: 'http-proxy',
    host: 'a.test',
    port: 443,
    ...more,
  };
}

describe('refusals', () => {
  it('say what was refused, by what, where that stands and how it is allowed', () => {
    refusals.event(refused({ remedy: 'run with `--allow a.test`' }));
    refusals.event(
      refused({
        host: 'b.test',
        rule: 'network.deny[0]',
        reason: 'not needed',
        source: 'p.yaml:7',
        port: 80,
      }),
    );
    expect(notes.said).toEqual([
      'refused a.test:443: no rule allows a.test (default.deny). To allow it: run with `--allow a.test`',
      'refused b.test:80: not needed (network.deny[0] at p.yaml:7).',
    ]);
  });

  it('of one host by one rule are said once, whatever else differs', () => {
    refusals.event(refused());
    refusals.event(refused({ port: 8443, entry: 'dns', reason: 'in other words' }));
    refusals.event(refused({ repeats: 12 }));
    expect(notes.said).toHaveLength(1);
  });

  it('of one host by another rule are news, and so are those of another host', () => {
    for (const rule of ['llm.paths', 'llm.methods', 'structural.pin.foreign', 'llm.paths'])
      refusals.event(refused({ rule, reason: rule }));
    refusals.event(refused({ host: 'b.test', rule: 'llm.paths', reason: 'b' }));
    expect(notes.said.map((line) => line.split(': ')[1]?.split(' ')[0])).toEqual([
      'llm.paths',
      'llm.methods',
      'structural.pin.foreign',
      'b',
    ]);
  });

  it('end after a thousand: hosts are the sandbox’s to invent', () => {
    for (let i = 0; i < 1_500; i++) refusals.event(refused({ host: `h${i}.test` }));
    expect(notes.said).toHaveLength(1_000);
  });

  it('without a port name the host alone', () => {
    refusals.event(refused({ host: '(none)', port: 0 }));
    expect(notes.said[0]).toMatch(/^refused \(none\): /);
  });
});

it('what is allowed is a detail, each time', () => {
  for (let i = 0; i < 2; i++) refusals.event({ ...refused(), action: 'allow', rule: 'r' });
  expect(notes.said).toEqual([]);
  expect(notes.details).toEqual(['allowed a.test:443 (r)', 'allowed a.test:443 (r)']);
});

describe('where somebody should have been asked', () => {
  it('says once why nobody was, with the first host that no rule knows', () => {
    refusals = new RefusalNotes(notes, 'stdin is not a terminal');
    refusals.event(refused({ rule: 'structural.private' }));
    refusals.event(refused({ host: 'b.test' }));
    refusals.event(refused({ host: 'c.test' }));
    expect(notes.said.filter((line) => line.startsWith('network.ask'))).toEqual([
      'network.ask: nobody can be asked, stdin is not a terminal',
    ]);
    expect(notes.said[1]).toContain('network.ask');
  });
});
