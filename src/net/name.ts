import { domainToASCII, domainToUnicode } from 'node:url';
import { CAPS } from '../base/caps.ts';

/** A name in the one form that policy, DNS, dial, SNI, upstream request and log see; or why there is none. */
export type NameResult =
  | { readonly ok: true; readonly name: string }
  | { readonly ok: false; readonly why: string };

const LABEL_MAX = 63;

/**
 * Canonical form of a host name from the wire: lower case, without one trailing dot. Nothing else is changed; whatever does not
 * fit is refused, never repaired, because two parsers that repair differently are a bypass (RFC 1035 §2.3.1, RFC 5891 §4.4).
 * Names whose last label is a number are refused as well: `inet_aton` reads them as addresses (WHATWG URL §3.5).
 */
export function canonicalName(text: string): NameResult {
  if (text === '') return refuse('an empty name');
  if (text.length > CAPS.dnsNameBytes + 1) return refuse(`a name longer than ${CAPS.dnsNameBytes} bytes`);
  const name = (text.endsWith('.') ? text.slice(0, -1) : text).replace(/[A-Z]/g, (letter) =>
    letter.toLowerCase(),
  );
  if (name.length > CAPS.dnsNameBytes) return refuse(`a name longer than ${CAPS.dnsNameBytes} bytes`);
  const labels = name.split('.');
  for (const label of labels) {
    const why = labelProblem(label);
    if (why !== undefined) return refuse(why);
  }
  if (isNumeric(labels.at(-1) ?? ''))
    return refuse('a last label that is a number, so the name could be read as an address');
  return { ok: true, name };
}

/** True when a text is exactly its own canonical name. */
export function isCanonicalName(text: string): boolean {
  const result = canonicalName(text);
  return result.ok && result.name === text;
}

function labelProblem(label: string): string | undefined {
  if (label === '') return 'an empty label';
  if (label.length > LABEL_MAX) return `a label longer than ${LABEL_MAX} bytes (RFC 1035 §2.3.4)`;
  if (!/^[a-z0-9_-]+$/.test(label)) return 'a character other than letters, digits, "-", "_" and dots';
  if (label.startsWith('-') || label.endsWith('-')) return 'a label that begins or ends with "-"';
  if (label.startsWith('xn--') && domainToASCII(domainToUnicode(label)) !== label)
    return 'an invalid A-label (RFC 5891 §5.4)';
  return undefined;
}

/** WHATWG URL §3.5 "ends in a number": all digits, or `0x` and hex digits. */
function isNumeric(label: string): boolean {
  return /^(?:[0-9]+|0x[0-9a-f]*)$/.test(label);
}

function refuse(why: string): NameResult {
  return { ok: false, why };
}
