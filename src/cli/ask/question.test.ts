import { describe, expect, it } from 'vitest';
import { plainHost, questionLines } from './question.ts';

const lines = (host: string, port = 443, waiting = 0): string =>
  questionLines({ host, port, entry: 'socks' }, waiting).join('\n');

describe('questionLines', () => {
  it('says whose the host is, what would pass, and what allows it for good', () => {
    const text = lines('api.github.com.evil.co.uk', 8080, 2);
    expect(text).toContain(
      '  host      api.github.com.evil.co.uk\n            belongs to evil.co.uk\n  port      8080\n',
    );
    expect(text).toContain(
      '  protocol  http: HTTP to that name in clear text, whatever is requested\n  came by   socks\n',
    );
    expect(text).toContain('`--allow api.github.com.evil.co.uk:8080`');
    expect(text).toContain('  2 more questions wait.');
    expect(lines('a.github.io')).not.toContain('belongs to');
    expect(lines('b.a.github.io')).toContain('belongs to a.github.io');
    expect(lines('93.184.216.34', 5432)).toContain('an address: nothing says whose it is');
    expect(lines('host-loopback', 5432)).toContain("this machine's own 127.0.0.1");
  });

  it('shows the whole of a long name, and nothing that a terminal obeys', () => {
    const long = `api.github.com.${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.evil.example`;
    expect(lines(long)).toContain(`  host      ${long}\n`);
    const hostile = 'a\u001b[2J\u009b1m\r\n\u202eb\u0007.example';
    expect(plainHost(hostile)).toBe('a\\u{1b}[2J\\u{9b}1m\\u{d}\\u{a}\\u{202e}b\\u{7}.example');
    expect(lines(hostile)).toMatch(/^[\n\x20-\x7e]*$/);
  });
});
