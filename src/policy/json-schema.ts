import { z } from 'zod';
import { policyDocument } from './schema.ts';

/** The language as JSON Schema (draft 7, which editors read), for completion and checks while typing. */
export function policyJsonSchema(): object {
  const { $schema, ...schema } = z.toJSONSchema(policyDocument, {
    target: 'draft-7',
    io: 'input',
    unrepresentable: 'any',
  });
  return { $schema, title: 'Glovebox policy', ...schema };
}
