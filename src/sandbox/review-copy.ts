import path from 'node:path';
import type { AuditSink } from '../audit/contract.ts';
import { reviewMade, type ReviewMade } from '../audit/events/review-made.ts';
import { auditEvent } from '../audit/events/spec.ts';
import { newId } from '../base/ids.ts';
import type { GloveboxDirs } from '../base/paths.ts';
import type { Teardown } from '../base/teardown.ts';
import { fillMade } from '../drivers/inspection.ts';
import { compareTree, type Comparison } from '../review/compare.ts';
import type { Manifest, Review, ReviewRules } from '../review/contract.ts';
import { copyWorkspace } from '../review/copy.ts';
import { covering, judgeOf, type Judge } from '../review/rules.ts';
import { ReviewStore } from '../review/store.ts';
import type { PreparedPlan } from './prepare.ts';
import type { Inventory } from './receipt.ts';
import { makeTemporary, removeTemporary } from './sweep.ts';

/** What a sandbox changed in its copy, and the review that waits for a person. */
export interface ReviewOutcome extends Comparison {
  /** Absent when nothing was changed. */
  readonly id?: string;
}

/** The copy of a workspace that one sandbox has. */
export class ReviewCopy {
  readonly #root: string;
  readonly #workspace: string;
  readonly #manifest: Manifest;
  readonly #judge: Judge;
  readonly #store: ReviewStore;

  private constructor(
    root: string,
    rules: ReviewRules,
    made: { manifest: Manifest; judge: Judge; store: ReviewStore },
  ) {
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
    const root = makeTemporary(dirs);
    inventory.path('directory', root);
    teardown.add('copy of the workspace', () => removeTemporary(root, dirs));
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

  /** What is different at this moment. */
  changes(): Promise<Comparison> {
    return compareTree({ root: this.#root, manifest: this.#manifest, judge: this.#judge });
  }

  /** Keeps what is different as a review, and records it. Preconditions: the sandbox has ended. */
  async conclude(sandbox: string, audit: AuditSink): Promise<ReviewOutcome> {
    await this.#store.sweep();
    const draft = this.#store.draft();
    try {
      const comparison = await compareTree({
        root: this.#root,
        manifest: this.#manifest,
        judge: this.#judge,
        sink: draft,
      });
      if (comparison.changes.length === 0) {
        await draft.discard();
        return comparison;
      }
      const review = this.#review(sandbox, comparison);
      await audit.write(auditEvent(reviewMade, madeData(review), sandbox));
      draft.finish(review);
      return { ...comparison, id: review.id };
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
