import { describe, expect, it } from 'vitest';
import { isGloveboxError } from '../base/errors.ts';
import { endpointOf, localName, nameOfReference, parseReference, referenceText } from './names.ts';

const code = (work: () => unknown): unknown => {
  try {
    return work();
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
};

describe('names', () => {
  it('of the store have one form', () => {
    expect(
      ['python', 'python:latest', 'team/app:v1.2', 'localhost:5000/a/b:X_1', '[::1]:5000/a'].map(localName),
    ).toEqual(['python', 'python', 'team/app:v1.2', 'localhost:5000/a/b:X_1', '[::1]:5000/a']);
  });

  it.each([
    '',
    'Python',
    '../x',
    'a/../b',
    'a//b',
    '/a',
    'a/',
    '.a',
    'a:',
    'a:b:c',
    'a b',
    'a\0',
    'é',
    `${'a/'.repeat(120)}a`,
    '-x',
    'a@sha256:1',
  ])('refuses %j', (text) => {
    expect(code(() => localName(text))).toBe('E_IMAGE_NAME');
  });

  it('of registries are read as everywhere', () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    expect(referenceText(parseReference('python:3.12'))).toBe('docker.io/library/python:3.12');
    expect(referenceText(parseReference('team/app'))).toBe('docker.io/team/app');
    expect(parseReference(`host:5000/a/b:t@${digest}`)).toEqual({
      host: 'host:5000',
      repository: 'a/b',
      tag: 't',
      digest,
    });
    expect(endpointOf(parseReference('python'))).toBe('registry-1.docker.io');
    expect(nameOfReference(`ghcr.io/a/b@${digest}`)).toBe('ghcr.io/a/b:sha256-aaaaaaaaaaaa');
    expect(nameOfReference(`ghcr.io/a/b:t@${digest}`)).toBe('ghcr.io/a/b:t');
  });

  it.each([
    'a@sha256:12',
    'a@md5:x',
    '[:1]:5000/a',
    'host:65536/a',
    'Host.example/A',
    'host:99999999/a',
    'user:pw@host/a',
    'http://host/a',
  ])('refuses the reference %j', (text) => {
    expect(code(() => parseReference(text))).toBe('E_IMAGE_NAME');
  });

  it('suggests only what would be a name', () => {
    const next = (text: string): string | undefined => {
      try {
        localName(text);
      } catch (error) {
        return isGloveboxError(error) ? error.next : undefined;
      }
      return undefined;
    };
    expect(next('Python:3.12')).toBe('Did you mean python:3.12?');
    expect(next('Bad Name!') ?? '').not.toContain('Did you mean');
  });
});
