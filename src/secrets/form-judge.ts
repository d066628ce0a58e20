import type { CredentialPolicy } from '../policy/contract.ts';
import type { OutgoingRequest, RefuseVerdict } from './contract.ts';
import { formHead, watchFields } from './form-fields.ts';
import type { FieldProblem } from './form-fields.ts';
import { labelOf } from './places.ts';
import type { Refusals } from './refusals.ts';

/** What is asked about the form in a body. */
export interface FormCase {
  readonly request: OutgoingRequest;
  readonly swappable: readonly CredentialPolicy[];
  readonly refusals: Refusals;
  readonly hash: (value: string) => string;
}

/** Looks at a form as it passes, and refuses a field that bears a credential: on a pinned host there is one, and no field is its place. */
export type FormWatch = (chunk: Uint8Array) => RefuseVerdict | undefined;

/** The watch for the form of a request; a refusal when its head says that it cannot be read; undefined when no pin or form is there. */
export function watchForm(subject: FormCase): FormWatch | RefuseVerdict | undefined {
  const { request, refusals } = subject;
  const pin = request.rule.requests?.pin;
  const head = pin === undefined ? undefined : formHead(request.headers);
  if (pin === undefined || head === undefined) return undefined;
  if ('why' in head) return refusals.unreadable(pin.credential, head.why);
  const watch = watchFields(head.kind, queryNamesOf(subject.swappable));
  return (chunk) => {
    const problem = watch.update(chunk);
    return problem === undefined ? undefined : refusalOf(subject, pin.credential, problem);
  };
}

/** `body`: without the values that are swapped. */
export function judgeForm(subject: FormCase, body: Uint8Array | undefined): RefuseVerdict | undefined {
  const watch = watchForm(subject);
  if (watch === undefined || typeof watch !== 'function') return watch;
  return body === undefined ? undefined : watch(body);
}

function refusalOf({ refusals, hash }: FormCase, credential: string, problem: FieldProblem): RefuseVerdict {
  if ('why' in problem) return refusals.unreadable(credential, problem.why);
  // The value may not be whole yet: what is told again is which field it was.
  return refusals.foreign(credential, labelOf('form field', problem.name), hash(problem.name));
}

/** What is read from a query by these names is read from a form too. */
function queryNamesOf(swappable: readonly CredentialPolicy[]): ReadonlySet<string> {
  return new Set(
    swappable.flatMap(({ places }) =>
      places.flatMap((place) => (place.kind === 'query' ? [place.name] : [])),
    ),
  );
}
