import { describe, expect, test } from 'vitest';
import { dnsQuery } from '../../test/gateway/dns-client.ts';
import { DNS_QUERY_MAX, RCODE, readDnsQuery, writeDnsReply } from './dns-message.ts';

describe('readDnsQuery', () => {
  test('one question, letters kept for the reply, EDNS seen and not copied', () => {
    const query = dnsQuery(['Api', 'Test'], { edns: true });
    const read = readDnsQuery(query);
    if (read.state !== 'query') throw new Error(read.state);
    expect(read.query).toMatchObject({
      id: 0x1234,
      name: 'api.test',
      type: 1,
      edns: true,
      recursionDesired: true,
    });
    const reply = Buffer.from(writeDnsReply(read.query, RCODE.ok, '198.18.0.1'));
    expect(reply.subarray(12, 22).toString('latin1')).toContain('Api');
    expect(reply.subarray(reply.indexOf(Buffer.from([0xc0, 12]))).subarray(12, 16)).toEqual(
      Buffer.from([198, 18, 0, 1]),
    );
    expect(reply.includes(Buffer.from([0xfd, 0xe9]))).toBe(false);
    expect(reply.readUInt16BE(6)).toBe(1);
    expect(reply.readUInt16BE(10)).toBe(1);
  });

  test.each([
    ['five bytes', Buffer.from('1234010000', 'hex'), 'drop'],
    ['a response', (() => Buffer.from(dnsQuery(['a', 'test'])).fill(0x81, 2, 3))(), 'drop'],
    ['a pointer to itself', Buffer.from('123401000001000000000000c00c00010001', 'hex'), 'reply'],
    ['a reserved label', Buffer.from('12340100000100000000000040610000010001', 'hex'), 'reply'],
    ['a NUL in a label', dnsQuery([Buffer.from('evil\u0000'), 'test']), 'reply'],
    ['a dot in a label', dnsQuery([Buffer.from('a.b'), 'test']), 'reply'],
    ['a name that never ends', dnsQuery(['a']).subarray(0, 14), 'reply'],
    ['two questions', (() => Buffer.from(dnsQuery(['a', 'test'])).fill(2, 5, 6))(), 'reply'],
    ['bytes behind the message', Buffer.concat([dnsQuery(['a', 'test']), Buffer.from([1])]), 'reply'],
    ['over 512 bytes', Buffer.concat([dnsQuery(['a', 'test']), Buffer.alloc(DNS_QUERY_MAX)]), 'reply'],
    ['opcode NOTIFY', dnsQuery(['a', 'test'], { opcode: 4 }), 'reply'],
    ['the root', dnsQuery([]), 'reply'],
  ])('%s: %s', (_what, bytes, state) => {
    expect(readDnsQuery(bytes).state).toBe(state);
  });
});
