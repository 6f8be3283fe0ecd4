// Doses as jumps of a model's state.
import { concat, type Jump, type Value } from "../index.js";
import { type Change, changesOf } from "./doses.js";
import { type Description, layoutOf } from "./model.js";
import type { Dose, Series } from "./table.js";
import { scaledDose } from "./text-model.js";

/** The states that receive infusions. */
export function infusedOf(series: readonly Series[], states: readonly string[]): string[] {
  return states.filter((state) =>
    series.some(({ doses = [] }) => doses.some((dose) => dose.state === state && dose.duration > 0)),
  );
}

/** The doses of series as jumps; times count from the first row of each trajectory. Empty without doses. */
export function jumpsOf(
  series: readonly Series[],
  { state: states, settings, units }: Pick<Description, "state" | "settings" | "units">,
): Jump[] {
  const { clocks, observed, size } = layoutOf(settings, states.length);
  const { log, mean, scale, timeScale } = units;
  const all = series.map(dosesFrom);
  return states.flatMap((name, i): Jump[] => {
    const own = all.map((doses) => doses.filter((dose) => dose.state === name));
    const unit = scale[i] as number;
    const atOnce = own.map((doses) => doses.filter(({ duration }) => duration === 0));
    const overTime = own.map((doses) => doses.filter(({ duration }) => duration > 0));
    const infusion = clocks + observed + settings.infused.indexOf(name);
    return [
      ...jumpOf(atOnce, (dose) => [dose], log[i] ? 1 : unit, setOf(name, i)),
      ...jumpOf(
        overTime,
        changesOf,
        unit / timeScale,
        added(infusion, (rate, amount) => rate.add(amount)),
      ),
    ];
  });

  /** The jump for some doses, with amounts in the given unit; empty if there are none. */
  function jumpOf(
    doses: readonly (readonly Dose[])[],
    changesOf: (dose: Dose) => Change[],
    unit: number,
    set: Jump["set"],
  ): Jump[] {
    if (doses.every(({ length }) => length === 0)) return [];
    const changes = doses.map((own) => own.flatMap(changesOf).sort((a, b) => a.time - b.time));
    const times = changes.map((own, k) => own.map(({ time }) => (time - firstOf(series[k])) / timeScale));
    return [{ times, set, amounts: { [AMOUNT]: changes.map((own) => own.map(({ amount }) => amount / unit)) } }];
  }

  /** The effect of a dose on a state; if it is learned as a logarithm, the dose adds to the exponential. */
  function setOf(name: string, i: number): Jump["set"] {
    const { equations, doses, infused } = settings;
    const factor = doses?.factors[name];
    if (factor !== undefined && equations !== null) {
      return scaledDose(equations, infused, units, { state: name, factor, amount: AMOUNT });
    }
    const [middle, unit] = [mean[i] as number, scale[i] as number];
    return added(clocks + i, (before, amount) =>
      log[i] ? before.mul(unit).add(middle).exp().add(amount).log().sub(middle).div(unit) : before.add(amount),
    );
  }

  /** Changes one row of the state. */
  function added(row: number, after: (before: Value, amount: Value) => Value): Jump["set"] {
    return ({ state, amounts }) => {
      const rows = Array.from({ length: size }, (_, i) => state.slice(i, i + 1));
      return concat(...rows.map((value, i) => (i === row ? after(value, amounts[AMOUNT] as Value) : value)));
    };
  }
}

/** A name that scaled equations never have: all of theirs end in `_scaled`. */
const AMOUNT = "amount_of_dose";

const firstOf = (series: Series | undefined): number => series?.times[0] ?? 0;

/** The doses that act during a series. Earlier doses are already in its first row. */
function dosesFrom(series: Series): Dose[] {
  const { doses = [], start, early } = series;
  const first = firstOf(series);
  return doses.flatMap((dose) => {
    const { time, duration, amount } = dose;
    if (time > first || (time === first && (start || early?.[0]))) return [dose];
    const rest = time + duration - first;
    // The rest of an infusion that began earlier.
    return duration > 0 && rest > 0
      ? [{ ...dose, time: first, duration: rest, amount: (amount * rest) / duration }]
      : [];
  });
}
