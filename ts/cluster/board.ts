// The state of a sweep's trials: which have ended and how, which continue, and which is best.
import { membersOf, type Rungs, sizesOf } from "./halving.js";
import type { TrialParameters } from "./space.js";
import type { SweepResult, SweepStatus, TrialResult } from "./sweep-result.js";
import { jobKey, type OwnJob, type Report } from "./trials.js";

/** All trials of a sweep, and how they are compared. */
export interface Plan {
  readonly parameters: readonly TrialParameters[];
  readonly rungs: Rungs;
  /** 1 if small values are better, -1 if large ones are. */
  readonly sign: 1 | -1;
  readonly seed: number;
}

/** Keeps track of all trials. */
export class Board {
  readonly #plan: Plan;
  /** The reports of each trial, by rung. */
  readonly #reports: Report[][];
  /** The trials of each rung that has begun. */
  #members: (readonly number[])[] = [];
  #sets: ReadonlySet<number>[] = [];
  /** How many trials of the current rung have not ended. */
  #left = 0;
  /** Reports of rungs that have not begun here. After a restart, the reports of earlier runs arrive in any order. */
  readonly #early = new Map<string, Report>();
  /** The best report of each rung. */
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

  /** Whether the last rung has ended. */
  get isOver(): boolean {
    return this.#left === 0;
  }

  /** Adds a report. Returns the reason if the report is rejected. */
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

  /** Begins the next rungs, as far as the reports allow. */
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
      // Multiples of the golden ratio spread the seeds.
      seed: (seed + Math.imul(trial + 1, 0x9e3779b1)) >>> 0,
      state: this.report(trial, rung - 1)?.state,
    };
  }

  /** Reports of the rung before whose trials were stopped. */
  leftBehind(rung: number): Report[] {
    const before = this.#members[rung - 1] ?? [];
    return before.flatMap((trial) => (this.#sets[rung]?.has(trial) ? [] : [this.report(trial, rung - 1) as Report]));
  }

  /** Reports whose states are no longer needed after this report; `best` is what was best at its rung before. */
  superseded(report: Report, best: Report | undefined): Report[] {
    const { trial, rung, message } = report;
    const before = this.report(trial, rung - 1);
    const last = this.#best[rung - 1];
    // Until a trial ends this rung with a value, the best result is still that of the rung before.
    if (message !== undefined) return before && (best || before !== last) ? [before] : [];
    const old = before ? [before] : [];
    if (!best && last && last !== before && this.report(last.trial, rung)) old.push(last);
    if (rung < this.#plan.rungs.budgets.length - 1) return old;
    if (this.#best[rung] !== report) return [...old, report];
    return best ? [...old, best] : old;
  }

  /** Reports whose states are still needed: by trials in progress, by the next rung, or for the result. */
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

  /** The best report of the highest rung that a trial has ended with a value. */
  get bestReport(): Report | undefined {
    return this.#best.at(-1);
  }

  /** The trial as of that report; it may have failed at a later rung. */
  best(): TrialResult | undefined {
    const report = this.bestReport;
    if (!report) return undefined;
    const { value, info, rung } = report;
    const result = this.resultOf(report.trial);
    return Object.freeze({ ...result, value, info, rungs: Object.freeze(result.rungs.slice(0, rung + 1)) });
  }

  /** The result so far. */
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
