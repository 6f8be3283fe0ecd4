// A ball that is thrown in gusty wind, and bounces: the throw is learned through the bounces, so that a landing is where it should be.
// The throw is a jump at the start, so its speeds are parameters; each landing is an event, and the last one ends the flight.
import {
  type DetectedEvents,
  equations,
  type Field,
  odeint,
  type SolveOptions,
  valueAndGrad,
} from "symplectic-adjoint/slim";
import { normals } from "../../../../ts/trace/random.js";
import type { Config } from "../config.js";
import type { Picture } from "../messages.js";
import { type LearningTask, range } from "../task.js";

/** The first ball flies in still air, the others in wind. */
const BALLS = 16;
const [SIZE, X, HEIGHT, ACROSS, UP] = [4, 0, 1, 2, 3];
/** Seconds: the longest flight, how much of it is shown over time, and from one output to the next, in training and in pictures. */
const [LONGEST, SHOWN, SPACING, FINE] = [8, 4, 0.1, 0.02];
/** What a throw costs, in m² of missing for each m²/s² of its speed: of the throws that land alike, the gentlest is wanted. */
const EFFORT = 1e-3;
/** What is left of the speed along the ground where a ball lands. */
const GRIP = 0.9;
const extent = [-0.6, 12.6, -0.7, 4.8] as const;

const FLIGHT = `
air = sqrt((across - wind)^2 + up^2)
x' = across
height' = up
across' = -0.02 * air * (across - wind)
up' = -9.81 - 0.02 * air * up`;

/** From one metre above the ground. */
const start = Float32Array.from(range(SIZE * BALLS), (i) => (i % SIZE === HEIGHT ? 1 : 0));
const times = range(Math.round(LONGEST / SPACING) + 1).map((i) => i * SPACING);
const fine = range(Math.round(LONGEST / FINE) + 1).map((i) => i * FINE);
const shown = fine.slice(0, Math.round(SHOWN / FINE) + 1);
/** Where the last output begins. */
const LAST = SIZE * BALLS * (times.length - 1);

export function bounce(given: Config): LearningTask {
  let config = given;
  const normal = normals(given.seed);
  const gusts = range(BALLS).map((ball) => (ball === 0 ? 0 : normal()));

  /** What happens on the way, as it is set now. */
  function happenings(): SolveOptions {
    const { landing, bounciness } = config;
    const set = `up = -${bounciness} * up \n across = ${GRIP} * across`;
    return {
      arguments: { wind: Float32Array.from(gusts, (gust) => config.gusts * gust) },
      jumps: [{ times: [0], set: "across = throwAcross \n up = throwUp" }],
      events: [{ when: "height", direction: "falling", set, terminal: landing }],
    };
  }

  return {
    scene: {
      extent,
      axes: ["distance, m", "height, m"],
      shows: "paths of the balls, where they land, and the target",
      data: start.slice(X, HEIGHT + 1),
      morphs: false,
      ground: true,
      series: { title: "of the ball in still air, m over s", x: shown, names: ["height"], data: [] },
      loss: { name: "mean squared miss plus effort, m²", logarithmic: true },
    },
    independent: true,
    configure(next) {
      config = next;
    },
    makeField: () =>
      equations(FLIGHT, { parameters: { throwAcross: 3, throwUp: 3 }, arguments: ["wind"], dtype: "float32" }),
    batch: () => ({ y0: start, times }),
    gradient(field, batch, options) {
      const loss = (y: Float32Array) => {
        const cotangent = new Float32Array(y.length);
        let value = 0;
        // Once a flight has ended, outputs repeat its last state.
        for (const ball of range(BALLS)) {
          const at = LAST + SIZE * ball + X;
          const miss = (y[at] as number) - config.target;
          value += miss ** 2 / BALLS;
          cotangent[at] = (2 * miss) / BALLS;
        }
        // The first output is the state after the throw.
        for (const at of [ACROSS, UP]) {
          const speed = y[at] as number;
          value += EFFORT * speed ** 2;
          cotangent[at] = 2 * EFFORT * speed;
        }
        return { value, cotangent };
      };
      const { value, gradient, solution } = valueAndGrad(field, batch.y0, batch.times, loss, {
        ...options,
        ...happenings(),
      });
      return { value, gradient, stats: () => solution.stats };
    },
    picture(field, options) {
      // Fixed steps are counted by the interval: those of training, with more outputs between them.
      const steps = options.steps === undefined ? {} : { steps: undefined, stepSize: SPACING / options.steps };
      const more = { ...steps, ...happenings(), output: "interpolate", onFailure: "mask" } as const;
      const { y, events } = odeint(field, start, fine, { ...options, ...more });
      const flights = range(BALLS).map((ball) => flightOf(y, events, ball, config.landing));
      const [calm, ...others] = flights as [Flight, ...Flight[]];
      return {
        field: new Float32Array(0),
        fieldSide: 0,
        paths: [calm.path],
        pathTimes: calm.times,
        others: others.map(({ path }) => path),
        points: Float32Array.from(flights.flatMap(({ landings }) => landings.flatMap(({ x }) => [x, 0]))),
        series: [shown.map((t, i) => (t <= calm.end ? (y[SIZE * BALLS * i + HEIGHT] as number) : null))],
        target: config.target,
        figures: figuresOf(field, flights),
      };
    },
  };

  function figuresOf(field: Field<"float32">, flights: readonly Flight[]): Picture["figures"] {
    const [across, up] = field.parameters as unknown as [number, number];
    const angle = (Math.atan2(up, across) * 180) / Math.PI;
    // Unlike toFixed, without a negative zero.
    const degrees = String(Math.round(angle)).replace("-", "−");
    const thrown = ["throw", `${Math.hypot(across, up).toFixed(2)} m/s at ${degrees}°`] as const;
    const ends = flights.flatMap(({ landings }) => landings.at(config.landing - 1) ?? []);
    // None where the throw has gone astray.
    if (ends.length === 0) return [thrown];
    const distances = ends.map(({ x }) => x);
    const spread = rms(distances.map((x) => x - mean(distances)));
    return [
      thrown,
      ["lands at", `${mean(distances).toFixed(2)} ± ${spread.toFixed(2)} m`],
      ["misses by", `${rms(distances.map((x) => x - config.target)).toFixed(2)} m`],
      ["flies for", `${mean(ends.map(({ t }) => t)).toFixed(2)} s`],
      ["events found", String(flights.flatMap(({ landings }) => landings).length)],
    ];
  }
}

interface Flight {
  /** Points [x, height, …], up to the last landing. */
  readonly path: Float32Array;
  /** Of the points, in seconds. */
  readonly times: Float32Array;
  readonly landings: readonly Landing[];
  /** Seconds. */
  readonly end: number;
}

interface Landing {
  readonly t: number;
  readonly x: number;
}

/** One ball of a solution at the fine times: in between, a path has the landings too. */
function flightOf(
  y: Float32Array,
  { t, trajectory, y: states }: DetectedEvents<"float32">,
  ball: number,
  last: number,
): Flight {
  const landings = [...t].flatMap((time, i): Landing[] =>
    trajectory[i] === ball ? [{ t: time, x: states[SIZE * i + X] as number }] : [],
  );
  const end = landings[last - 1]?.t ?? LONGEST;
  const points = fine.flatMap((time, i): [t: number, x: number, height: number][] => {
    const at = SIZE * (BALLS * i + ball);
    return time < end ? [[time, y[at + X] as number, y[at + HEIGHT] as number]] : [];
  });
  for (const { t: time, x } of landings) points.push([time, x, 0]);
  points.sort(([one], [other]) => one - other);
  const path = Float32Array.from(points.flatMap(([, x, height]) => [x, height]));
  return { path, times: Float32Array.from(points, ([time]) => time), landings, end };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function rms(values: readonly number[]): number {
  return Math.sqrt(mean(values.map((value) => value ** 2)));
}
