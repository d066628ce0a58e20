import { parse } from 'tldts';
import { HOST_LOOPBACK, remedyFor, ruleFromAnswer } from '../../gateway/decide.ts';
import type { AskQuestion } from '../../gateway/contract.ts';

/** What an answer's rule lets pass, by its protocol. */
const GRANTS: Readonly<Record<string, string>> = {
  https: 'TLS to that name; what is sent there is not read, and any account may receive it',
  http: 'HTTP to that name in clear text, whatever is requested',
  tcp: 'an opaque connection, whatever is spoken on it',
};

/**
 * The lines that a person decides by. Everything in them is printable ASCII: the gateway has made the host canonical, and what
 * slipped through would be escaped here.
 */
export function questionLines(question: AskQuestion, waiting: number): readonly string[] {
  const { host, port, entry } = question;
  const shown = plainHost(host);
  const { protocol } = ruleFromAnswer(host, port, 'once');
  return [
    'glovebox: the command wants to reach a host that no rule knows.',
    '',
    `  host      ${shown}`,
    ...ownerLine(host),
    `  port      ${port}`,
    `  protocol  ${protocol}: ${GRANTS[protocol] ?? 'whatever is spoken on it'}`,
    `  came by   ${entry}`,
    '',
    '  Whoever owns this host can receive whatever the command can read.',
    `  To allow it always: ${remedyFor(shown, port)}.`,
    '',
    '  deny      refuse it, also when it is tried again in this run (Enter)',
    '  once      allow what waits for it now',
    '  sandbox   allow this host and port until the run ends',
    '  Ctrl-C    deny, and ask nothing more in this run',
    ...(waiting === 0
      ? []
      : ['', `  ${waiting} more ${waiting === 1 ? 'question waits' : 'questions wait'}.`]),
    '',
  ];
}

/** Whose name it is: `api.github.com.evil.example` belongs to evil.example. */
function ownerLine(host: string): readonly string[] {
  if (host === HOST_LOOPBACK) return ["            a service on this machine's own 127.0.0.1"];
  const { domain, isIp } = parse(host, { allowPrivateDomains: true, validateHostname: false });
  if (isIp === true) return ['            an address: nothing says whose it is'];
  return domain === null || domain === host ? [] : [`            belongs to ${plainHost(domain)}`];
}

/** Whole, so that the end of a long name is seen, and without anything that a terminal obeys. */
export function plainHost(host: string): string {
  return host.replace(/[^\x21-\x7e]/gu, (char) => `\\u{${char.codePointAt(0)?.toString(16) ?? ''}}`);
}
