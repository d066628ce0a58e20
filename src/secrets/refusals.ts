import type { BrokerVerdict, OutgoingRequest, PinState, RefuseVerdict } from './contract.ts';
import type { Known } from './recognizer.ts';

/** Every refusal of the broker. Reasons name credentials and places, never values. */
export class Refusals {
  readonly #request: OutgoingRequest;

  constructor(request: OutgoingRequest) {
    this.#request = request;
  }

  missing(credential: string, remedy: string | undefined): RefuseVerdict {
    const reason = `${this.#request.host} takes only this sandbox's placeholder of ${credential}, and the request carries no credential`;
    return { ...this.#deny('structural.pin.missing', reason, remedy), pin: 'missing' };
  }

  foreign(credential: string, place: string, hash: string): RefuseVerdict {
    const reason = `${place} carries a credential that is not this sandbox's placeholder of ${credential}`;
    return { ...this.#deny('structural.pin.foreign', reason), pin: 'foreign', foreign: hash, alarm: true };
  }

  /** A form whose fields cannot be told: among them could be a credential. */
  unreadable(credential: string, why: string): RefuseVerdict {
    const { host } = this.#request;
    const reason = `${host} takes only this sandbox's placeholder of ${credential}, and the form in the body cannot be read: ${why}`;
    return { ...this.#deny('structural.pin.foreign', reason), pin: 'foreign' };
  }

  multiple(credential: string): RefuseVerdict {
    const reason = `the request carries ${credential} more than once, and an origin could choose between them`;
    return {
      ...this.#deny('structural.pin.multiple', reason, 'send it in one place only'),
      pin: 'multiple',
    };
  }

  undefinedPin(credential: string): RefuseVerdict {
    const reason = `${this.#request.rule.id} is pinned to ${credential}, which the policy does not define`;
    return { ...this.#deny('structural.pin.missing', reason), pin: 'missing' };
  }

  /** A secret or placeholder that was recognised where it must not be. */
  known(known: Known, place: string): RefuseVerdict {
    const { credential } = known;
    const texts: Readonly<Record<Known['kind'], readonly [string, string]>> = {
      secret: ['leak', `the real secret of ${credential} is in ${place}: it must not be inside the sandbox`],
      revoked: [
        'revoked',
        `a revoked secret of ${credential} is in ${place}: it must not be inside the sandbox`,
      ],
      stale: ['misplaced', `a placeholder of ${credential} that is no longer valid is in ${place}`],
      placeholder: ['misplaced', `the placeholder of ${credential} is in ${place}, where it is not put in`],
    };
    const [rule, reason] = texts[known.kind];
    return {
      ...this.#deny(`structural.credential.${rule}`, reason),
      ...this.#pinned('misplaced'),
      alarm: true,
    };
  }

  cleartext(credential: string): RefuseVerdict {
    const reason = `${credential} would leave in clear text to ${this.#request.host} port ${this.#request.port}`;
    return this.#deny('structural.credential.cleartext', reason, 'use https');
  }

  source(credential: string): RefuseVerdict {
    const reason = `the source of ${credential} gives no secret now; nothing was sent`;
    const remedy = `fix what credentials.${credential} reads, or its source in the policy`;
    return { ...this.#deny('structural.credential.source', reason, remedy), status: 502 };
  }

  revoked(credential: string): RefuseVerdict {
    return this.#deny(
      'structural.credential.revoked',
      `${credential} was revoked; its placeholder is refused`,
    );
  }

  /** A signature that names this sandbox's placeholder and is wrong, stale, or cannot be checked or made again. */
  signature(credential: string, why: string): RefuseVerdict {
    const reason = `the AWS signature for ${credential} is refused: ${why}`;
    const remedy = 'sign the request as it is sent, with the keys that the sandbox was given';
    return { ...this.#deny('structural.credential.signature', reason, remedy), ...this.#pinned('misplaced') };
  }

  #pinned(pin: PinState): { readonly pin?: PinState } {
    return this.#request.rule.requests?.pin === undefined ? {} : { pin };
  }

  #deny(rule: string, reason: string, remedy?: string): RefuseVerdict {
    const source = sourceOf(this.#request);
    const verdict: BrokerVerdict = {
      action: 'deny',
      rule,
      reason,
      ...(source === undefined ? {} : { source }),
      ...(remedy === undefined ? {} : { remedy }),
    };
    return { state: 'refuse', status: 403, verdict };
  }
}

function sourceOf(request: OutgoingRequest): string | undefined {
  const { position } = request.rule.origin;
  return position === undefined ? undefined : `${position.file}:${position.line}`;
}
