import type { RootStore } from '../gateway/tls/contract.ts';

/**
 * The root stores that sandboxes share, one for each host environment: parsing the roots takes some 30 ms and a few MB. Whoever starts
 * sandboxes owns one; a store goes with its environment.
 */
export class RootStores {
  readonly #byEnv = new WeakMap<NodeJS.ProcessEnv, Promise<RootStore>>();

  of(env: NodeJS.ProcessEnv): Promise<RootStore> {
    const known = this.#byEnv.get(env);
    if (known !== undefined) return known;
    const made = import('../gateway/tls/roots.ts').then(({ createRootStore }) => createRootStore({ env }));
    this.#byEnv.set(env, made);
    return made;
  }
}
