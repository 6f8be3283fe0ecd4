// What is known of the trials of a sweep: which have ended and how, which go on, and which is the best.
import { membersOf, type Rungs, sizesOf } from "./halving.js";
import type { TrialParameters } from "./space.js";
import type { SweepResult, SweepStatus, TrialResult } from "./sweep-result.js";
import { jobKey, type OwnJob, type Report } from "./trials.js";

/** Which trials there are, and which of them go on. */
export interface Plan {
  readonly parameters: readonly TrialParameters[];
  readonly rungs: Rungs;
  /** 1: small values are good. */
  readonly sign: 1 | -1;
  readonly seed: number;
}

/** What is known of all trials. */
export class Board {
  readonly #plan: Plan;
  /** By trial, the reports of its rungs. */
  readonly #reports: Report[][];
  /** Of each rung that has begun, its trials. */
  #members: (readonly number[])[] = [];
  #sets: ReadonlySet<number>[] = [];
  /** Trials of the highest rung that have not ended it. */
  #left = 0;
  /** Reports of rungs that have not begun here: those of an earlier coordinator may come in any order. */
  readonly #early = new Map<string, Report>();
  /** The best of each rung. */
  readonly #best: Report[] = [];
  #ended = 0;
  #failed = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#reports = plan.parameters.map(() => []);
    this.#begin();
  }

  report(trial: number, rung: number): Report | undefined {
    return this.#reports[trial]?.[rung];
  }

  /** The trials of each rung that has begun. */
  get members(): readonly (readonly number[])[] {
    return this.#members;
  }

  /** Whether the last rung that there can be has ended. */
  get isOver(): boolean {
    return this.#left === 0;
  }

  /** Takes a report; tells why not, if it does not count. */
  take(report: Report): string | undefined {
    const { trial, rung } = report;
    const own = this.#reports[trial];
    if (!own || rung >= this.#plan.rungs.budgets.length) return `there is no rung ${rung} of a trial ${trial}`;
    if (own[rung]) return `trial ${trial} has a result already`;
    if (rung >= this.#members.length) {
      this.#early.set(jobKey(report), report);
      return undefined;
    }
    if (!this.#sets[rung]?.has(trial)) return `trial ${trial} is not in rung ${rung}`;
    this.#count(report);
    if (this.#left === 0) this.#begin();
    return undefined;
  }

  #count(report: Report): void {
    const { trial, rung, value, message } = report;
    (this.#reports[trial] as Report[])[rung] = report;
    this.#ended++;
    this.#left--;
    if (message !== undefined) {
      this.#failed++;
      return;
    }
    const { sign } = this.#plan;
    const best = this.#best[rung];
    if (!best || sign * value < sign * best.value || (value === best.value && trial < best.trial)) {
      this.#best[rung] = report;
    }
  }

  /** Begins the rungs that can begin. */
  #begin(): void {
    const { rungs, parameters, sign } = this.#plan;
    while (this.#left === 0) {
      const all = membersOf(rungs, parameters.length, (trial, rung) => {
        const value = this.report(trial, rung)?.value;
        return value === undefined ? undefined : sign * value;
      });
      const rung = this.#members.length;
      const members = all[rung];
      if (!members) return;
      this.#members = all.slice(0, rung + 1);
      this.#sets.push(new Set(members));
      this.#left = members.length;
      for (const trial of members) {
        const early = this.#early.get(jobKey({ trial, rung }));
        if (early) this.#count(early);
      }
    }
  }

  jobOf(trial: number, rung: number): OwnJob {
    const { parameters, rungs, seed } = this.#plan;
    return {
      ...{ trial, rung, budget: rungs.budgets[rung], parameters: parameters[trial] as TrialParameters },
      // Multiples of the golden ratio lie far from each other.
      seed: (seed + Math.imul(trial + 1, 0x9e3779b1)) >>> 0,
      state: this.report(trial, rung - 1)?.state,
    };
  }

  /** Reports of the rung before whose trials do not go on. */
  leftBehind(rung: number): Report[] {
    const before = this.#members[rung - 1] ?? [];
    return before.flatMap((trial) => (this.#sets[rung]?.has(trial) ? [] : [this.report(trial, rung - 1) as Report]));
  }

  /** Reports whose state nobody needs any more, now that this one is there. `best` was the best of its rung before. */
  superseded(report: Report, best: Report | undefined): Report[] {
    const { trial, rung, message } = report;
    const before = this.report(trial, rung - 1);
    const last = this.#best[rung - 1];
    // Until a trial ends this rung with a value, the best of the one before is the best of all.
    if (message !== undefined) return before && (best || before !== last) ? [before] : [];
    const old = before ? [before] : [];
    if (!best && last && last !== before && this.report(last.trial, rung)) old.push(last);
    if (rung < this.#plan.rungs.budgets.length - 1) return old;
    if (this.#best[rung] !== report) return [...old, report];
    return best ? [...old, best] : old;
  }

  /** Reports whose states are still needed: by runs that have not ended, by the rung after, and for the result. */
  get needed(): Report[] {
    const rung = this.#members.length - 1;
    const own = this.#left > 0 && rung < this.#plan.rungs.budgets.length - 1 ? rung : -1;
    const all = (this.#members[rung] ?? []).map((trial) =>
      this.report(trial, rung) ? this.report(trial, own) : this.report(trial, rung - 1),
    );
    return [...all, this.bestReport].filter((report) => report !== undefined);
  }

  bestOf(rung: number): Report | undefined {
    return this.#best[rung];
  }

  resultOf(trial: number): TrialResult {
    const { parameters, rungs } = this.#plan;
    const reports = this.#reports[trial] as Report[];
    const last = reports.at(-1);
    return Object.freeze({
      ...{ trial, parameters: parameters[trial] as TrialParameters, status: this.#statusOf(trial, last) },
      value: last?.value ?? Number.NaN,
      ms: reports.reduce((sum, { ms }) => sum + ms, 0),
      rungs: Object.freeze(
        reports.map(({ rung, value, ms, worker }) => Object.freeze({ budget: rungs.budgets[rung], value, ms, worker })),
      ),
      ...{ message: last?.message, info: last?.info },
    });
  }

  #statusOf(trial: number, last: Report | undefined): TrialResult["status"] {
    if (!last) return "open";
    if (last.message !== undefined) return "failed";
    if (last.rung === this.#plan.rungs.budgets.length - 1) return "done";
    const next = this.#sets[last.rung + 1];
    return next && !next.has(trial) ? "stopped" : "open";
  }

  /** The best report of the highest rung that any trial has ended with a value. */
  get bestReport(): Report | undefined {
    return this.#best.at(-1);
  }

  /** The trial of that report, as it was then: it may have failed since. */
  best(): TrialResult | undefined {
    const report = this.bestReport;
    if (!report) return undefined;
    const { value, info, rung } = report;
    const result = this.resultOf(report.trial);
    return Object.freeze({ ...result, value, info, rungs: Object.freeze(result.rungs.slice(0, rung + 1)) });
  }

  /** The result, as far as there is one. */
  result(name: string, state: Uint8Array | undefined): SweepResult {
    const best = this.best();
    return Object.freeze({
      name,
      best: best && Object.freeze({ ...best, state }),
      trials: Object.freeze(this.#plan.parameters.map((_, trial) => this.resultOf(trial))),
      budgets: Object.freeze(this.#plan.rungs.budgets.filter((budget) => budget !== undefined)),
    });
  }

  status(): SweepStatus {
    const { rungs, parameters } = this.#plan;
    const total = sizesOf(rungs, parameters.length).reduce((sum, size) => sum + size, 0);
    return { ended: this.#ended, total, failed: this.#failed, best: this.best() };
  }
}
