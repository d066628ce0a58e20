import path from 'node:path';
import { TreeLink } from '../agent/tree-link.ts';
import type { AuditSink } from '../audit/contract.ts';
import { reviewMade, type ReviewMade } from '../audit/events/review-made.ts';
import { auditEvent } from '../audit/events/spec.ts';
import { isGloveboxError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { GloveboxDirs } from '../base/paths.ts';
import type { Teardown } from '../base/teardown.ts';
import { fillMade } from '../drivers/inspection.ts';
import { compareTree, type Comparison, type ContentSink } from '../review/compare.ts';
import type { Manifest, Review, ReviewRules } from '../review/contract.ts';
import { copyWorkspace } from '../review/copy.ts';
import { TreeReceiver } from '../review/receive.ts';
import { covering, judgeOf, type Judge } from '../review/rules.ts';
import { ReviewStore } from '../review/store.ts';
import type { PreparedPlan } from './prepare.ts';
import type { Inventory } from './receipt.ts';
import { makeTemporary, removeTemporary } from './sweep.ts';

/** What a sandbox changed in its copy, and the review that waits for a person. */
export interface ReviewOutcome extends Comparison {
  /** Absent when nothing was changed. */
  readonly id?: string;
  /** Why what it changed last did not come back from its machine. */
  readonly lost?: string;
}

/** The copy of a workspace that one sandbox has. */
export class ReviewCopy {
  readonly #root: string;
  readonly #workspace: string;
  readonly #manifest: Manifest;
  readonly #judge: Judge;
  readonly #store: ReviewStore;
  readonly #spool: () => string;
  #machine: { readonly link: TreeLink; readonly receiver: TreeReceiver } | undefined;
  #lost: string | undefined;

  private constructor(
    root: string,
    rules: ReviewRules,
    made: { manifest: Manifest; judge: Judge; store: ReviewStore; spool: () => string },
  ) {
    this.#spool = made.spool;
    this.#root = root;
    this.#workspace = rules.workspace;
    this.#manifest = made.manifest;
    this.#judge = made.judge;
    this.#store = made.store;
  }

  /** Copies the workspace; the copy goes with the sandbox. @throws E_REVIEW_TOO_LARGE */
  static async make(
    rules: ReviewRules,
    parts: { readonly dirs: GloveboxDirs; readonly teardown: Teardown; readonly inventory: Inventory },
  ): Promise<ReviewCopy> {
    const { dirs, teardown, inventory } = parts;
    const directory = (): string => {
      const made = makeTemporary(dirs);
      inventory.path('directory', made);
      teardown.add('copy of the workspace', () => removeTemporary(made, dirs));
      return made;
    };
    const root = directory();
    const manifest = await copyWorkspace({
      from: rules.workspace,
      to: root,
      withheld: (below) => {
        const rule = covering(rules.denied, path.join(rules.workspace, below));
        return rule === undefined ? undefined : `${rule} denies it`;
      },
    });
    return new ReviewCopy(root, rules, {
      manifest,
      judge: await judgeOf(rules),
      store: new ReviewStore(dirs),
      spool: directory,
    });
  }

  /** The plan with the copy in the workspace's place. */
  placeIn(prepared: PreparedPlan): PreparedPlan {
    const made = new Map([[this.#workspace, { source: this.#root }]]);
    const isCopy = (mount: PreparedPlan['plan']['view'][number]): boolean =>
      mount.kind === 'made' && mount.what === 'review-copy';
    const { plan } = prepared;
    const view = plan.view.flatMap((mount) =>
      isCopy(mount) ? fillMade({ ...plan, view: [mount] }, made).view : [mount],
    );
    return { ...prepared, plan: Object.freeze({ ...plan, view }) };
  }

  /** The copy on the host, where a machine has one of its own. */
  get root(): string {
    return this.#root;
  }

  /** From here on the sandbox has a copy of the copy in its machine's memory, and this is the way of it and back. */
  inMachine(): TreeLink {
    const receiver = new TreeReceiver(this.#root, this.#spool());
    const link = new TreeLink(receiver);
    this.#machine = { link, receiver };
    return link;
  }

  /** What is different at this moment. */
  async changes(): Promise<Comparison> {
    await this.#machine?.link.pull();
    return this.#compare();
  }

  /** The sandbox ends: what it has in a machine's memory is fetched while the machine is there. */
  async fetch(isAlive: boolean): Promise<void> {
    if (this.#machine === undefined) return;
    const { link, receiver } = this.#machine;
    const error = await link.finish(isAlive);
    receiver.dispose();
    if (error !== undefined)
      this.#lost = isGloveboxError(error) && error.why !== undefined ? error.why : error.message;
  }

  async #compare(sink?: ContentSink): Promise<Comparison> {
    const { refused, truncated = false } = this.#machine?.receiver ?? {};
    const found = await compareTree({
      ...{ root: this.#root, manifest: this.#manifest, judge: this.#judge },
      ...(refused === undefined ? {} : { refused }),
      ...(sink === undefined ? {} : { sink }),
    });
    return { ...found, truncated: found.truncated || truncated };
  }

  /** Keeps what is different as a review, and records it. Preconditions: the sandbox has ended. */
  async conclude(sandbox: string, audit: AuditSink): Promise<ReviewOutcome> {
    await this.#store.sweep();
    const draft = this.#store.draft();
    try {
      const comparison = await this.#compare(draft);
      const lost = this.#lost === undefined ? {} : { lost: this.#lost };
      if (comparison.changes.length === 0) {
        await draft.discard();
        return { ...comparison, ...lost };
      }
      const review = this.#review(sandbox, comparison);
      await audit.write(auditEvent(reviewMade, madeData(review), sandbox));
      draft.finish(review);
      return { ...comparison, ...lost, id: review.id };
    } catch (error) {
      await draft.discard();
      throw error;
    }
  }

  #review(sandbox: string, { changes, truncated }: Comparison): Review {
    const workspace = this.#workspace;
    return { version: 1, id: newId('rev'), sandbox, workspace, madeAt: Date.now(), changes, truncated };
  }
}

function madeData({ id, workspace, changes, truncated }: Review): ReviewMade {
  const count = (keep: (change: Review['changes'][number]) => boolean): number => changes.filter(keep).length;
  return {
    review: id,
    workspace,
    changes: changes.length,
    blocked: count(({ blocked }) => blocked !== undefined),
    protected: count(({ protectedBy }) => protectedBy !== undefined),
    truncated,
  };
}
