import type { AuditSink } from '../audit/contract.ts';
import { reviewApplied } from '../audit/events/review-applied.ts';
import { reviewDiscarded } from '../audit/events/review-discarded.ts';
import { auditEvent } from '../audit/events/spec.ts';
import { openAudit } from '../audit/writer.ts';
import { CAPS } from '../base/caps.ts';
import { isGloveboxError } from '../base/errors.ts';
import { gloveboxDirs } from '../base/paths.ts';
import { applyReview, discardReview, isBegun, type ApplyReport } from '../review/apply.ts';
import type { Change, Review } from '../review/contract.ts';
import type { SelectOptions } from '../review/select.ts';
import { changeDiff } from '../review/show.ts';
import { ReviewStore } from '../review/store.ts';

/** The reviews of this user: what sandboxes made of copies of their workspaces, waiting for a person. */
export class Reviews {
  readonly #store: ReviewStore;
  readonly #stateDir: string;

  constructor(options: { readonly hostEnv?: NodeJS.ProcessEnv } = {}) {
    const dirs = gloveboxDirs(options.hostEnv ?? process.env);
    this.#stateDir = dirs.state;
    this.#store = new ReviewStore(dirs);
  }

  /** Oldest first. */
  list(): readonly Review[] {
    return this.#store.list();
  }

  /** @throws E_REVIEW_NOT_FOUND */
  get(id: string): Review {
    return this.#store.get(id);
  }

  /** True when applying it was interrupted: the next `apply` or `discard` takes that back first. */
  isInterrupted(id: string): boolean {
    return isBegun(this.#store, id);
  }

  /** What a change does to a text, as `diff -u` says it, safe for a terminal. */
  diff(review: Review, change: Change): string {
    return changeDiff(this.#store, review, change);
  }

  /**
   * Makes the chosen changes in the workspace: all of them, or none.
   *
   * @throws E_REVIEW_NOT_FOUND, E_REVIEW_CONFLICT, E_REVIEW_TOO_LARGE, E_USAGE, E_IO
   */
  apply(id: string, options: SelectOptions = {}): Promise<ApplyReport> {
    return this.#recorded(async (audit) => {
      const review = this.#store.get(id);
      const about = { review: id, workspace: review.workspace };
      try {
        const report = await applyReview(this.#store, id, options);
        const paths = report.applied.map(({ path }) => path).slice(0, CAPS.reviewRecorded);
        const guarded = report.applied.filter(({ protectedBy }) => protectedBy !== undefined).length;
        const counts = { changes: report.applied.length, protected: guarded };
        await audit.write(auditEvent(reviewApplied, { ...about, outcome: 'applied', paths, ...counts }));
        return report;
      } catch (error) {
        const reason = isGloveboxError(error) ? error.message : String(error);
        const paths = (options.paths ?? []).slice(0, CAPS.reviewRecorded);
        const data = { ...about, outcome: 'refused' as const, paths, changes: 0, protected: 0, reason };
        await audit.write(auditEvent(reviewApplied, data));
        throw error;
      }
    });
  }

  /** @throws E_REVIEW_NOT_FOUND */
  discard(id: string): Promise<void> {
    return this.#recorded(async (audit) => {
      await discardReview(this.#store, id);
      await audit.write(auditEvent(reviewDiscarded, { review: id }));
    });
  }

  async #recorded<T>(work: (audit: AuditSink) => Promise<T>): Promise<T> {
    const audit = openAudit({ stateDir: this.#stateDir });
    try {
      return await work(audit);
    } finally {
      await audit.close();
    }
  }
}
