// What each gradient method holds at a moment, for a solve of a few steps: the data of the diagram.
import type { GradientMethod, Retention } from "symplectic-adjoint/slim";

export const [STEPS, STAGES] = [6, 3];

/** What is held of a step: its first state, so many stage states, so many tapes. */
export interface Held {
  state: boolean;
  stages: number;
  tapes: number;
}

export interface Moment {
  readonly held: readonly Held[];
  /** The step that is being taken or transposed. */
  readonly at: number;
  readonly phase: "forward" | "forward again" | "backward";
}

/** What a method keeps of a step for the way back. */
type StepRetention = "tapes" | "stages" | "state" | "nothing";

/** The part of the time that the way forward takes, and of the way back that a second way forward does. */
const [FORWARD, AGAIN] = [0.4, 0.35];

/** How a method stands at a time from 0 to 1. */
export function moment(method: GradientMethod, time: number, retention?: Retention): Moment {
  const kept = keptBy(method, retention);
  if (time < FORWARD) return goingForward("forward", kept, time / FORWARD);
  const back = (time - FORWARD) / (1 - FORWARD);
  if (method !== "baseline") return goingBack(method, kept, back);
  const taped = kept.map((): StepRetention => "tapes");
  return back < AGAIN
    ? goingForward("forward again", taped, back / AGAIN)
    : goingBack(method, taped, (back - AGAIN) / (1 - AGAIN));
}

function keptBy(method: GradientMethod, retention?: Retention): StepRetention[] {
  const steps = Array.from({ length: STEPS }, (_, step) => step);
  if (method === "backprop") return steps.map(() => "tapes");
  if (method === "adjoint") return steps.map(() => "nothing");
  if (method === "baseline") return steps.map((step) => (step === 0 ? "state" : "nothing"));
  if (method !== "auto" || !retention) return steps.map(() => "state");
  // The last steps keep most, in the proportions of the present problem.
  const { tapes, stages, states, checkpoints } = retention;
  const whole = tapes + stages + states;
  if (whole === 0)
    return steps.map((step) => (step % Math.ceil(STEPS / Math.max(1, checkpoints)) === 0 ? "state" : "nothing"));
  return steps.map((step) => {
    const fromEnd = ((STEPS - step - 0.5) / STEPS) * whole;
    return fromEnd < tapes ? "tapes" : fromEnd < tapes + stages ? "stages" : "state";
  });
}

function goingForward(phase: Moment["phase"], kept: readonly StepRetention[], part: number): Moment {
  const at = Math.min(STEPS - 1, Math.floor(part * STEPS));
  const held = kept.map((what, step) =>
    step > at ? nothing() : step === at ? { ...full(what), state: true } : full(what),
  );
  return { held, at, phase };
}

function goingBack(method: GradientMethod, kept: readonly StepRetention[], part: number): Moment {
  const whole = Math.min(STEPS * STAGES - 1, Math.floor(part * STEPS * STAGES));
  const at = STEPS - 1 - Math.floor(whole / STAGES);
  const left = STAGES - (whole % STAGES);
  const held = kept.map((what, step): Held => {
    if (step > at) return nothing();
    if (step < at) return full(what);
    if (method === "adjoint") return { state: true, stages: 0, tapes: 1 };
    if (what === "tapes") return { state: true, stages: left, tapes: left };
    if (method === "aca") return { state: true, stages: left, tapes: left };
    // Stage states, kept or computed again, and the tape of one use of the network.
    return { state: true, stages: left, tapes: 1 };
  });
  return { held, at, phase: "backward" };
}

function full(what: StepRetention): Held {
  const stages = what === "tapes" || what === "stages" ? STAGES : 0;
  return { state: what !== "nothing", stages, tapes: what === "tapes" ? STAGES : 0 };
}

function nothing(): Held {
  return { state: false, stages: 0, tapes: 0 };
}
