import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../base/version.ts';
import { policyJsonSchema } from './json-schema.ts';

describe('policyJsonSchema', () => {
  it('is what is checked in', () => {
    const stored = readFileSync(path.join(packageRoot(), 'schemas/policy.schema.json'), 'utf8');
    expect(`${JSON.stringify(policyJsonSchema(), null, 2)}\n`).toBe(stored);
  });

  it('closes every mapping and describes what editors show', () => {
    const schema: unknown = policyJsonSchema();
    expect(schema).toMatchObject({
      $schema: 'http://json-schema.org/draft-07/schema#',
      required: ['version'],
      additionalProperties: false,
      properties: {
        network: { additionalProperties: false, properties: { allow: { description: expect.any(String) } } },
      },
    });
  });
});
