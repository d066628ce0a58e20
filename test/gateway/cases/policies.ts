import type { CredentialPolicy, NetworkPolicy } from '../../../src/policy/contract.ts';
import { translatePolicy } from '../../../src/policy/import/egress-policy.ts';
import type { CaseFile } from './load.ts';

export interface CasePolicy {
  readonly network: NetworkPolicy;
  readonly credentials: readonly CredentialPolicy[];
  /** Keys of the file's form that our language has no equal for. */
  readonly missing: readonly string[];
}

/** The credential behind a name of the file, as our language writes it; the host variables are the bench's. */
function sourceFor(name: string): unknown {
  return name.startsWith('AWS')
    ? { accessKeyId: `env:${name}_ID`, secretAccessKey: `env:${name}_SECRET` }
    : `env:${name}`;
}

/** The file's named policies in our language, through the importer that users have. */
export class CasePolicies {
  readonly #written: Readonly<Record<string, unknown>>;
  readonly #known = new Map<string, CasePolicy>();

  constructor(file: CaseFile) {
    this.#written = file.policies;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#written, name);
  }

  named(name: string): CasePolicy {
    const known = this.#known.get(name) ?? translatePolicy(this.#written, name, sourceFor);
    this.#known.set(name, known);
    return known;
  }

  /** A credential that some other policy of the file defines. */
  credential(name: string): CredentialPolicy | undefined {
    for (const policy of Object.keys(this.#written)) {
      if (!policy.startsWith('P-')) continue;
      const found = this.named(policy).credentials.find((credential) => credential.name === name);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
