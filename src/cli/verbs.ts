import { GloveboxError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { CliCommand, CliIo } from './contract.ts';

export type Verb = (args: readonly string[], io: CliIo) => Promise<number>;

/** Verbs are loaded when they are asked for: the help text needs no parser. */
export type Verbs = Readonly<Record<string, () => Promise<Verb>>>;

/** What is said of a name that is no verb, or of none. `near` is the verb that it looks like. */
export type UnknownVerb = (name: string | undefined, near: string | undefined) => GloveboxError;

/** A command that consists of verbs. @throws what `unknown` makes */
export function runVerb(verbs: Verbs, unknown: UnknownVerb): CliCommand['run'] {
  return async ([name, ...rest], io) => {
    const load = name !== undefined && Object.hasOwn(verbs, name) ? verbs[name] : undefined;
    if (load === undefined)
      throw unknown(name, name === undefined ? undefined : nearest(name, Object.keys(verbs)));
    return (await load())(rest, io);
  };
}

/** The usual words for it; `things` are what the command works on. */
export function unknownVerbOf(command: string, things: string): UnknownVerb {
  return (name, near) =>
    new GloveboxError('E_USAGE', {
      what: name === undefined ? `say what to do with ${things}` : `there is no command "${command} ${name}"`,
      next:
        near === undefined
          ? `See \`glovebox help ${command}\`.`
          : `Did you mean \`glovebox ${command} ${near}\`?`,
    });
}
