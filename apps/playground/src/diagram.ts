// The diagram of what each method keeps, going forward and back: played, or moved through by hand.
import type { GradientMethod, Retention } from "symplectic-adjoint/slim";
import { GRADIENTS } from "./config.js";
import { byId, element, shape } from "./dom.js";
import { type Held, moment, STAGES, STEPS } from "./retained.js";

/** Milliseconds of one way forward and back. */
const PERIOD = 14_000;
/** In the picture a tape is so many times a state. */
const TAPE = 6;
const [PITCH, SLOT] = [58, 12];

const TEXTS: Record<GradientMethod, string> = {
  symplectic: "one state per step, then one tape",
  auto: "as much as the budget allows",
  aca: "one state per step, then the tapes of a step",
  baseline: "x₀; then every tape",
  backprop: "every tape, from the start",
  adjoint: "nothing; inexact on the way back",
};

interface Lane {
  readonly method: GradientMethod;
  readonly cells: { state: Element; stages: Element[]; tapes: Element[] }[];
  readonly cursor: Element;
  readonly gauge: HTMLElement;
  readonly row: HTMLElement;
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
const place = byId("diagram");
const play = element("button", { type: "button" }, "Play");
const slider = element("input", { type: "range", min: "0", max: "1", step: "0.005", "aria-label": "Moment" });
const phase = element("span", { class: "phase" });
let lanes: Lane[] = [];
let retention: Retention | undefined;
let [time, playing, visible, before] = [0, false, false, 0];

export function setUp(): void {
  lanes = GRADIENTS.map(lane);
  const key = element("p", { class: "hint" }, "● state xₙ, ▪ stage state, ▮ tape of one use of the network");
  place.append(
    element("div", { class: "lanes" }, ...lanes.map(({ row }) => row)),
    element("div", { class: "player" }, play, slider, phase),
    key,
  );
  play.addEventListener("click", () => setPlaying(!playing));
  slider.addEventListener("input", () => {
    setPlaying(false);
    time = Number(slider.value);
    render();
  });
  new IntersectionObserver(([entry]) => {
    visible = entry?.isIntersecting ?? false;
    if (visible) requestAnimationFrame(frame);
  }).observe(place);
  still.addEventListener("change", () => setPlaying(!still.matches));
  // Held still where motion is not wanted, at a telling moment.
  time = still.matches ? 0.7 : 0;
  setPlaying(!still.matches);
  render();
}

/** Which method is chosen, and what `auto` has kept. */
export function setChosen(method: GradientMethod, kept: Retention | undefined): void {
  retention = kept ?? retention;
  for (const { row, method: own } of lanes) row.classList.toggle("chosen", own === method);
  render();
}

function setPlaying(value: boolean): void {
  playing = value;
  play.textContent = playing ? "Pause" : "Play";
  play.setAttribute("aria-label", playing ? "Pause the diagram" : "Play the diagram");
  before = performance.now();
  if (playing) requestAnimationFrame(frame);
}

let framed = false;
function frame(): void {
  if (!playing || !visible || framed) return;
  framed = true;
  requestAnimationFrame((now) => {
    framed = false;
    time = (time + Math.min(100, now - before) / PERIOD) % 1;
    before = now;
    render();
    frame();
  });
}

function render(): void {
  slider.value = String(time);
  for (const { method, cells, cursor, gauge } of lanes) {
    const { held, at, phase: own } = moment(method, time, retention);
    if (method === "symplectic") phase.textContent = own;
    cells.forEach(({ state, stages, tapes }, step) => {
      const what = held[step] as Held;
      state.classList.toggle("on", what.state);
      for (const [i, stage] of stages.entries()) stage.classList.toggle("on", i < what.stages);
      // Where there is one tape, it is that of the last stage that is left.
      const first = what.tapes === 1 ? Math.max(0, what.stages - 1) : 0;
      for (const [i, tape] of tapes.entries()) tape.classList.toggle("on", i >= first && i < first + what.tapes);
    });
    cursor.setAttribute("transform", `translate(${at * PITCH} 0)`);
    const units = held.reduce((sum, { state, stages, tapes }) => sum + Number(state) + stages + TAPE * tapes, 0);
    gauge.style.width = `${(100 * units) / (STEPS * (1 + STAGES + TAPE * STAGES))}%`;
  }
}

function lane(method: GradientMethod): Lane {
  const cells = Array.from({ length: STEPS }, (_, step) => {
    const x = step * PITCH;
    const slots = Array.from({ length: STAGES }, (_, stage) => x + 20 + stage * SLOT);
    return {
      state: shape("circle", { cx: x + 8, cy: 30, r: 4.5 }),
      stages: slots.map((left) => shape("rect", { x: left, y: 26, width: 8, height: 8, rx: 1 })),
      tapes: slots.map((left) => shape("rect", { x: left, y: 4, width: 8, height: 19, rx: 1 })),
    };
  });
  const cursor = shape("path", { d: `M2 39H${PITCH - 6}`, class: "cursor" });
  const svg = shape("svg", { viewBox: `0 0 ${STEPS * PITCH} 42`, "aria-hidden": "true" });
  svg.append(...cells.flatMap(({ state, stages, tapes }) => [state, ...stages, ...tapes]), cursor);
  const gauge = element("span", { class: "fill" });
  const name = element("span", { class: "name" }, method, element("small", {}, TEXTS[method]));
  const row = element(
    "div",
    { class: "lane", style: `--own:var(--${method})` },
    name,
    svg,
    element("div", { class: "gauge" }, gauge),
  );
  return { method, cells, cursor, gauge, row };
}
