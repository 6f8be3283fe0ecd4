// Equations that a visitor types, fitted to the Hudson Bay record or to samples of their own. Short windows come first: over
// a long one a loss has many valleys.
import {
  type Curve,
  equations,
  type Field,
  leastSquares,
  meanSquaredError,
  odeint,
  type ProgramField,
  SymplecticAdjointError,
  valueAndGrad,
} from "symplectic-adjoint/slim";
import { normals } from "../../../../ts/trace/random.js";
import type { Config } from "../config.js";
import type { Extent, Picture, SeriesValues } from "../messages.js";
import { type System, systemOf } from "../system.js";
import { gridOf, type LearningTask, range, solved, type TaskBatch } from "../task.js";
import { rows, years } from "./lynx-hare.js";

/** Parts of the whole time that windows span. */
const SCHEDULE = [
  { until: 100, part: 0.25, factor: 1 },
  { until: 250, part: 0.5, factor: 1 },
  { until: 600, part: 1, factor: 1 },
  { until: Number.POSITIVE_INFINITY, part: 1, factor: 0.3 },
];
const [SAMPLES, SIDE, FINE, SHOWN] = [41, 20, 8, 6];
/** Milliseconds that estimates may take: the worker does not answer until then. */
const LONGEST = 10_000;

interface Samples {
  readonly title: string;
  readonly times: readonly number[];
  /** What is shown as the time 0. */
  readonly origin: number;
  /** [time, state]. */
  readonly values: Float64Array;
  /** Whether the first point is measured as the others are, and not known. */
  readonly startMeasured: boolean;
}

export function equationsTask(config: Config): LearningTask {
  const system = systemOf(config);
  const { states, parameters, timed } = system;
  const size = states.length;
  const data = dataOf(config, system);
  const { title, times, origin } = data;
  const values = Float32Array.from(data.values);
  const deviations = states.map((_, i) => deviation(feature(values, size, i)));
  const last = times.length - 1;
  const fine = range(FINE * last + 1).map((i) => ((times[last] as number) * i) / (FINE * last));
  const shown = states.slice(0, SHOWN);
  const extent = extentOf(times, values, size);
  const grid = gridOf(extent, SIDE);
  const batches = new Map<number, TaskBatch>();

  function windows(length: number, factor: number): TaskBatch {
    // All windows begin at the time 0 of the solver, which equations that depend on the time would notice.
    const starts = timed ? 1 : times.length - length + 1;
    const target = Float32Array.from(range(length).flatMap((i) => [...values.subarray(size * i, size * (i + starts))]));
    const which = length === times.length ? "all" : `${timed ? "the first" : "windows of"} ${length} of`;
    const note = `${which} ${times.length} points`;
    return { y0: values.slice(0, size * starts), times: times.slice(0, length), target, factor, note };
  }

  return {
    scene: {
      extent,
      axes: size === 1 ? ["t", states[0] as string] : [states[0] as string, states[1] as string],
      data: onPlane(times, values, size),
      morphs: false,
      series: {
        title: size > SHOWN ? `${title}; first ${SHOWN} of ${size} states` : title,
        x: fine.map((t) => origin + t),
        names: [...shown],
        data: shown.map((_, i): SeriesValues => {
          const data = feature(values, size, i);
          return fine.map((_, j) => (j % FINE === 0 ? (data[j / FINE] ?? null) : null));
        }),
      },
      loss: { name: "mean squared error, in units of each state’s variance", logarithmic: true },
    },
    scales: system.initial.map((value) => Math.abs(value) || 1),
    makeField: ({ equations: text }) =>
      equations(text, { parameters: named(parameters, system.initial), dtype: "float32" }),
    batch(step) {
      const { until, part, factor } = SCHEDULE.find(({ until }) => step < until) as (typeof SCHEDULE)[0];
      const batch = batches.get(until) ?? windows(Math.round(part * last) + 1, factor);
      batches.set(until, batch);
      return batch;
    },
    gradient(field, batch, options) {
      const target = (batch.target as Float32Array).map((value, i) => value / (deviations[i % size] as number));
      const { value, gradient, solution } = valueAndGrad(
        field,
        batch.y0,
        batch.times,
        (y) => {
          const loss = meanSquaredError(
            y.map((value, i) => value / (deviations[i % size] as number)),
            target,
          );
          const cotangent = loss.cotangent.map((value, i) => value / (deviations[i % size] as number));
          return { value: loss.value, cotangent };
        },
        options,
      );
      return { value, gradient, stats: () => solution.stats };
    },
    picture: (field, options) => pictureOf(field, solved(field, values.slice(0, size), fine, options)),
    estimate(field, options, report) {
      const { startMeasured } = data;
      const first = startMeasured ? 0 : 1;
      const spread = startMeasured ? undefined : deviations;
      const end = performance.now() + LONGEST;
      const { curves, ...result } = leastSquares({
        field: field as ProgramField<"float32">,
        data: {
          t0: 0,
          times: times.slice(first),
          y: data.values.subarray(size * first),
          y0: data.values.subarray(0, size),
          weights: spread && times.slice(first).flatMap(() => spread.map((one) => 1 / one ** 2)),
        },
        initial: Object.fromEntries(states.map((name) => [name, startMeasured])),
        error: startMeasured ? "lognormal" : "additive",
        maxSteps: options.maxSteps,
        onIteration({ iteration, parameters: now, standardErrors, intervals }) {
          const estimates = Object.entries(now).map(([name, value]) => {
            return { name, value, standardError: standardErrors[name], interval: intervals[name] };
          });
          report({ iteration, estimates }, () => {
            field.parameters = Float32Array.from(parameters, (name) => now[name] as number);
            const start = Float32Array.from(states, (name, i) => now[`${name}(0)`] ?? (values[i] as number));
            return pictureOf(field, solved(field, start, fine, options));
          });
          return performance.now() < end;
        },
      });
      const { reason, iterations, warnings } = result;
      const message = reason === "callback" ? `Not converged: stopped after ${LONGEST / 1000} s.` : result.message;
      const estimates = Object.values(result.parameters).map(({ name, value, standardError, interval }) => {
        return { name, value, standardError, interval };
      });
      const ending = { message, warnings: warnings.filter((warning) => warning !== result.message) };
      report({ iteration: iterations, estimates, ending });
      const [curve] = curves({ points: fine.length }) as [Curve];
      const [y, errors] = [curve.y, curve.standardErrors].map((numbers) => Float32Array.from(numbers)) as [
        Float32Array,
        Float32Array,
      ];
      const beside = (index: number, sign: 1 | -1) =>
        feature(y, size, index).map((value, j) => value + sign * 2 * (errors[size * j + index] as number));
      const bands = shown.map((_, i) => ({ upper: beside(i, 1), lower: beside(i, -1) }));
      return { ...pictureOf(field, y), bands };
    },
  };

  /** The field as it is, and a solution at the fine times. */
  function pictureOf(field: Field<"float32">, y: Float32Array): Picture {
    return {
      field: size === 1 ? slopesInTime() : slopes(),
      fieldSide: SIDE,
      paths: [onPlane(fine, y, size)],
      series: shown.map((_, i) => feature(y, size, i)),
      parameters: [...field.parameters],
    };

    /** The first two slopes; the other states are as they begin. */
    function slopes(): Float32Array {
      const at = new Float32Array(SIDE * SIDE * size);
      for (let i = 0; i < at.length; i++) {
        const [point, state] = [Math.floor(i / size), i % size];
        at[i] = (state < 2 ? grid[2 * point + state] : values[state]) as number;
      }
      const all = field.evaluate(0, at);
      return grid.map((_, i) => all[size * (i >> 1) + (i % 2)] as number);
    }

    /** A single state is drawn over the time, which passes at the rate 1. */
    function slopesInTime(): Float32Array {
      const drawn = new Float32Array(grid.length).fill(1);
      for (const across of range(SIDE)) {
        const points = range(SIDE).map((up) => across + SIDE * up);
        const at = Float32Array.from(points, (point) => grid[2 * point + 1] as number);
        const slopes = field.evaluate(grid[2 * across] as number, at);
        points.forEach((point, up) => {
          drawn[2 * point + 1] = slopes[up] as number;
        });
      }
      return drawn;
    }
  }
}

/** What is fitted; refuses a text that cannot be read before all else. */
function dataOf(config: Config, system: System): Samples {
  const { states, parameters, truth, start } = system;
  const field = equations(config.equations, { parameters: named(parameters, truth), dtype: "float64" });
  try {
    if (config.data === "record") return recordOf(states);
    const times = range(SAMPLES).map((i) => (i * config.duration) / (SAMPLES - 1));
    const y = sampled(field, start, times);
    const size = states.length;
    const spread = states.map((_, i) => config.noise * deviation(feature(y, size, i)));
    const normal = normals(config.seed);
    const values = y.map((value, i) =>
      // Where they begin is known.
      i < size ? value : value + (spread[i % size] as number) * normal(),
    );
    return { title: "over time", times, origin: 0, values, startMeasured: false };
  } finally {
    field.dispose();
  }
}

function sampled(field: Field<"float64">, start: readonly number[], times: readonly number[]): Float64Array {
  try {
    return odeint(field, Float64Array.from(start), times, { rtol: 1e-8, maxSteps: 10_000 }).y;
  } catch (error) {
    if (!(error instanceof SymplecticAdjointError)) throw error;
    const message = `the samples could not be made: ${error.message}`;
    throw new SymplecticAdjointError(error.code, message, { argument: "samples" });
  }
}

function recordOf(states: readonly string[]): Samples {
  const names = ["hare", "lynx"];
  const columns = states.map((name) => names.indexOf(name));
  if (columns.length !== names.length || columns.includes(-1)) {
    const expected = "equations for hare and lynx, which the record has, and for nothing else";
    const given = states.join(", ");
    const message = `data: expected ${expected}; given equations for ${given}`;
    throw new SymplecticAdjointError("OPTION", message, { argument: "data", expected, given });
  }
  const values = Float64Array.from(rows.flatMap((row) => columns.map((column) => row[(column + 1) as 1 | 2])));
  const origin = years[0] as number;
  return { title: "thousands of pelts", times: range(rows.length), origin, values, startMeasured: true };
}

function named(names: readonly string[], values: readonly number[]): Record<string, number> {
  return Object.fromEntries(names.map((name, i) => [name, values[i] as number]));
}

/** One state of [time, state]. */
function feature(values: ArrayLike<number>, size: number, index: number): number[] {
  return range(values.length / size).map((i) => values[size * i + index] as number);
}

/** The standard deviation; 1 where nothing changes. */
function deviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) || 1;
}

/** The first two states as points, or a single one over the time. */
function onPlane(times: readonly number[], values: Float32Array, size: number): Float32Array {
  const [across, up] =
    size === 1 ? [times, feature(values, 1, 0)] : [feature(values, size, 0), feature(values, size, 1)];
  return Float32Array.from(across.flatMap((x, i) => [x, up[i] as number]));
}

function extentOf(times: readonly number[], values: Float32Array, size: number): Extent {
  const points = onPlane(times, values, size);
  const [left, right] = around(feature(points, 2, 0));
  return [left, right, ...around(feature(points, 2, 1))];
}

/** An interval with some room on both sides. */
function around(values: readonly number[]): [number, number] {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = 0.12 * (most - least) || Math.abs(most) || 1;
  return [least - room, most + room];
}
