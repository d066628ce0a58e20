import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formHead, watchFields } from './form-fields.ts';
import type { FieldProblem, FormKind } from './form-fields.ts';

const LISTED = new Set(['appid']);

function judge(kind: FormKind, body: string, cuts: readonly number[] = []): FieldProblem | undefined {
  const watch = watchFields(kind, LISTED);
  const bytes = Buffer.from(body, 'latin1');
  const ends = [...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
  let from = 0;
  for (const end of ends) {
    const problem = watch.update(bytes.subarray(from, end));
    if (problem !== undefined) return problem;
    from = end;
  }
  return undefined;
}

const part = (disposition: string, value = 'EVIL'): string =>
  `--b\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${value}\r\n--b--\r\n`;

describe('formHead', () => {
  it.each([
    [['content-type', 'application/json'], undefined],
    [[], undefined],
    [['Content-Type', 'application/x-www-form-urlencoded'], { kind: 'urlencoded' }],
    [['content-type', 'application/x-www-form-urlencoded; charset="UTF-8"'], { kind: 'urlencoded' }],
    [['Content_Type', 'APPLICATION/X-WWW-FORM-URLENCODED'], { kind: 'urlencoded' }],
    [['content-type', 'multipart/form-data; boundary=b'], { kind: 'multipart' }],
    [
      ['content-type', 'multipart/form-data; boundary=b; charset=utf-16'],
      { why: 'its charset is an unusual one' },
    ],
    [
      ['content-type', 'multipart/mixed', 'content-type', 'text/plain'],
      { why: 'its type is given more than once' },
    ],
    [['content-type', 'multipart/form-data', 'content-encoding', 'identity, gzip'], { why: 'it is packed' }],
    [['content-type', 'multipart/form-data', 'content-encoding', 'identity'], { kind: 'multipart' }],
  ])('%j is %j', (headers, expected) => {
    expect(formHead(headers)).toEqual(expected);
  });
});

describe('the names of a form', () => {
  it.each(['a=1&b=2', 'grant_type=x&page_token=2', 'token=&a=1', 'token&a=1', '&;=;&', 'text=token%3Dx', ''])(
    '%j passes',
    (body) => {
      expect(judge('urlencoded', body)).toBeUndefined();
    },
  );

  it.each([
    'private_token=EVIL',
    'a=1&token=EVIL',
    'a=1;token=EVIL',
    'a&b&api_key=EVIL&c',
    'access%5Ftoken=EVIL',
    'access%255ftoken=EVIL',
    'user[token]=EVIL',
    '+token=EVIL',
    'appid=EVIL',
    'TOKEN=EVIL',
  ])('%j bears a credential, however it is cut', (body) => {
    expect(judge('urlencoded', body)).toHaveProperty('name');
    fc.assert(
      fc.property(fc.array(fc.nat(body.length)), (cuts) => judge('urlencoded', body, cuts) !== undefined),
    );
  });

  it('a name that does not end is refused', () => {
    expect(judge('urlencoded', 'x'.repeat(5000))).toEqual({ why: 'a name in it is too long' });
  });
});

describe('the names of the parts of a body', () => {
  it.each([
    part('name="file"; filename="token.txt"'),
    part('name="file"; filename="token"'),
    part('name="note"', 'name="token"'),
    part('name=""'),
    `${part('name="key_id"')}${part('name="file"')}`,
    '',
  ])('%j passes, however it is cut', (body) => {
    fc.assert(
      fc.property(fc.array(fc.nat(body.length)), (cuts) => judge('multipart', body, cuts) === undefined),
    );
  });

  it.each([
    part('name="token"'),
    part('name=token'),
    part("name='token'"),
    part('name = "private_token"'),
    part('NAME="api_key"'),
    part('filename="x"; name="access_token"'),
    part('filename="x\\"; name="token"'),
    part('filename="x; name="token"'),
    part('name="to\\ken"'),
    part('x=y;\r\n name="token"'),
    part('x=y\rname="token"'),
    part('name="file"; name="token"'),
    part('name="user[token]"'),
    part('name="appid"'),
    '--b\nCONTENT-DISPOSITION : form-data;name=token\n\nEVIL',
  ])('%j bears a credential, however it is cut', (body) => {
    expect(judge('multipart', body)).toHaveProperty('name');
    fc.assert(
      fc.property(fc.array(fc.nat(body.length)), (cuts) => judge('multipart', body, cuts) !== undefined),
    );
  });

  it.each([
    [part("name*=utf-8''token"), 'a name in it is written in another coding'],
    [part('name*0="to"; name*1="ken"'), 'a name in it is written in another coding'],
    [part(`x="${'x'.repeat(9000)}"`), 'a head of a part of it is too long'],
    [part('name=a; name=b; name=c; name=d; name=e'), 'a part of it has more than one name'],
  ])('%.60j cannot be read', (body, why) => {
    expect(judge('multipart', body)).toEqual({ why });
  });
});
