// Answers, hides or forges the question about an unknown host that stands on the caller's terminal. Source: terminal replies as
// input (CVE-2003-0063, CVE-2022-45872), typed-ahead and TIOCSTI (CVE-2017-5226), drawing over a prompt.
import { expect } from 'vitest';
import { AttackBox, forEachTier, PYTHON, pythonProbe } from '../support/attack.ts';
import { Terminal } from '../support/pty.ts';

const PROMPT = 's, then deny. [deny]';

/** A thread keeps doing `attack`; once it has begun and a line was typed, the main one asks for a host that no rule knows. */
const whileAsked = (attack: string): string =>
  pythonProbe(`
import subprocess, sys, termios, threading, time
begun = threading.Event()
def attack():
    while True:
        try:
            ${attack}
        except OSError:
            pass
        begun.set()
        time.sleep(0.02)
threading.Thread(target=attack, daemon=True).start()
begun.wait()
os.write(1, b'begun')
os.read(0, 100)
code = subprocess.run(['curl', '-s', '-o', '/dev/null', '-p', '-w', '%{http_connect}', 'http://a.example:8443/'], capture_output=True).stdout
time.sleep(0.2)
os.write(1, b'\\r\\nsettled=' + code + b'\\r\\n')
`);

async function onQuestion(
  box: AttackBox,
  attack: string,
  play: (terminal: Terminal) => Promise<void>,
): Promise<string> {
  box.policy(JSON.stringify({ version: 1, network: { ask: { timeout: '5s' } } }));
  await using terminal = new Terminal(box, box.command([PYTHON, '-c', whileAsked(attack)]));
  await terminal.said('begun');
  terminal.type('\r');
  await terminal.said('wants to reach');
  await play(terminal);
  await terminal.said('settled=403');
  await terminal.ended();
  return terminal.output;
}

const outcomeOf = (box: AttackBox): unknown =>
  box.records().find(({ kind }) => kind === 'network.asked')?.data['answer'];

forEachTier('its own terminal does not reach the question', async (tier) => {
  using box = new AttackBox(tier);
  const attack = `
            for word in (b'once\\r', b'sandbox\\n'):
                os.write(1, word); os.write(0, word)
                for byte in word: fcntl.ioctl(0, termios.TIOCSTI, bytes([byte]))
`.trim();
  await onQuestion(box, attack, (terminal) => terminal.said('nobody answered: denied'));
  expect(outcomeOf(box)).toBe('timeout');
});

forEachTier('nothing is drawn while it stands, and no begun sequence swallows it', async (tier) => {
  using box = new AttackBox(tier);
  const attack = String.raw`os.write(1, b'\x1b[2J\x1b[8mFORGED\x1b]0;')`;
  const output = await onQuestion(box, attack, (terminal) => terminal.said('nobody answered: denied'));
  const from = output.indexOf('glovebox: the command wants to reach');
  const to = output.indexOf('nobody answered');
  expect(output.slice(0, from)).toContain('FORGED');
  expect(output.slice(from, to)).not.toContain('FORGED');
  expect(output.slice(from, to)).not.toContain('\u001b[2J');
  // CAN and ST end whatever was begun; attributes and colours are reset before the first word.
  const before = output.slice(output.lastIndexOf('\u0018\u001b\\', from), from);
  expect(before).toContain('\u001b[0m');
  expect(before).not.toContain('FORGED');
  expect(outcomeOf(box)).toBe('timeout');
});

forEachTier('what a terminal replies to a query is no answer, nor is what was typed ahead', async (tier) => {
  using box = new AttackBox(tier);
  const attack = String.raw`os.write(1, b'\x1b]0;once\x07\x1b[21t\x1b[6n\x05')`;
  await onQuestion(box, attack, async (terminal) => {
    // Before the line is open: typed ahead, and replies to what was asked before.
    terminal.type('once\r\u001b]lsandbox\r\u001b\\');
    await terminal.said(PROMPT);
    // A reply that holds an answer, and its tail in a read of its own.
    terminal.type('\u001b]lonce\rsandbox\r');
    terminal.type('once\r\u001b\\');
    await terminal.said('nobody answered: denied');
  });
  expect(outcomeOf(box)).toBe('timeout');
});
