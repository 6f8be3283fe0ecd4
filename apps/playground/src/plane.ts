// The plane of states on a canvas: a density or the contours of an energy, the vector field, data and solutions.
import { contours } from "d3-contour";
import { colour } from "./colours.js";
import { byId } from "./dom.js";
import type { Extent, Picture, Scene } from "./messages.js";

const canvas = byId<HTMLCanvasElement>("plane");
const context = canvas.getContext("2d") as CanvasRenderingContext2D;

const still = matchMedia("(prefers-reduced-motion: reduce)");
/** Seconds that a ball rests before it is thrown again. */
const REST = 0.6;

let scene: Scene | undefined;
let picture: Picture | undefined;
let [running, framed] = [false, false];

new ResizeObserver(draw).observe(canvas);

/** Calls back with the distance along the ground where a scene that has one is clicked. */
export function setUp(onTarget: (x: number) => void): void {
  canvas.addEventListener("click", ({ offsetX }) => {
    if (!scene?.ground) return;
    const [left, right] = scene.extent;
    onTarget(left + (offsetX / canvas.clientWidth) * (right - left));
  });
}

export function setScene(next: Scene): void {
  [scene, picture] = [next, undefined];
  delete canvas.dataset.at;
  const shows = next.shows ?? "data, learned solutions, vector field";
  canvas.setAttribute("aria-label", `The plane of ${next.axes.join(" and ")}: ${shows}`);
  canvas.classList.toggle("ground", next.ground === true);
  draw();
}

/** What moves along a path does so while training runs. */
export function setRunning(value: boolean): void {
  running = value;
  draw();
}

/** A picture at a moment from noise (0) to data (1). */
export function setPicture(next: Picture, at: number): void {
  picture = next;
  canvas.dataset.at = String(at);
  draw();
}

function isMoving(): boolean {
  return running && !still.matches && picture?.pathTimes !== undefined;
}

/** Draws again with the next frame while something moves. */
function animate(): void {
  if (framed || !isMoving()) return;
  framed = true;
  requestAnimationFrame(() => {
    framed = false;
    draw();
  });
}

export function draw(): void {
  if (!scene) return;
  const scale = Math.min(devicePixelRatio, 3);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [across, down] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const frame = { extent: scene.extent, width, height };
  if (picture?.levels) drawLevels(picture.levels, frame);
  if (picture) drawField(picture, frame);
  if (scene.ground) drawGround(frame, picture?.target);
  drawDots(scene.data, frame, colour("soft"), scene.morphs ? 1.1 : 2, scene.morphs && picture?.points ? 0.35 : 0.75);
  if (picture?.points) drawDots(picture.points, frame, colour("symplectic"), 1.6, 0.85);
  for (const path of picture?.others ?? []) drawPath(path, frame, 1, 0.45);
  for (const path of picture?.paths ?? []) drawPath(path, frame, 2, 1);
  if (picture?.pathTimes) drawMoving(picture.paths[0] as Float32Array, picture.pathTimes, frame);
  context.fillStyle = colour("soft");
  context.font = "12px system-ui, sans-serif";
  // Names stand out from the arrows by an edge of the background.
  context.strokeStyle = colour("panel");
  context.lineWidth = 5;
  for (const [text, align, x, y] of [
    [scene.axes[0], "right", width - 9, height - 10],
    [scene.axes[1], "left", 9, 19],
  ] as const) {
    context.textAlign = align;
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }
  animate();
}

interface Viewport {
  readonly extent: Extent;
  readonly width: number;
  readonly height: number;
}

function place(
  { extent: [left, right, bottom, top], width, height }: Viewport,
  x: number,
  y: number,
): [number, number] {
  return [((x - left) / (right - left)) * width, ((top - y) / (top - bottom)) * height];
}

function drawLevels({ side, values, filled }: NonNullable<Picture["levels"]>, { width, height }: Viewport): void {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) [least, most] = [Math.min(least, value), Math.max(most, value)];
  if (!Number.isFinite(least) || !Number.isFinite(most) || least === most) return;
  const parts = filled ? [0.02, 0.06, 0.12, 0.2, 0.3, 0.42, 0.56, 0.72, 0.88] : range(1, 13).map((i) => i / 14);
  // Of a density, parts of its peak; of an energy, equal distances.
  const thresholds = parts.map((part) => (filled ? part * most : least + part * (most - least)));
  context.fillStyle = colour("backprop");
  context.strokeStyle = colour("faint");
  context.lineWidth = 1;
  context.globalAlpha = filled ? 0.13 : 0.9;
  for (const { coordinates } of contours().size([side, side]).thresholds(thresholds)(values as unknown as number[])) {
    context.beginPath();
    for (const polygon of coordinates) {
      for (const ring of polygon) {
        ring.forEach(([x, y], i) => {
          const [across, up] = [((x as number) / side) * width, height - ((y as number) / side) * height];
          if (i === 0) context.moveTo(across, up);
          else context.lineTo(across, up);
        });
      }
    }
    if (filled) context.fill("evenodd");
    else context.stroke();
  }
  context.globalAlpha = 1;
}

/** Arrows: their length tells the size of the vector, but less and less of large ones. */
function drawField({ field, fieldSide: side }: Picture, frame: Viewport): void {
  const [left, right, bottom, top] = frame.extent;
  const cell = Math.min(frame.width, frame.height) / side;
  const lengths = range(0, side * side).map((i) => Math.hypot(field[2 * i] as number, field[2 * i + 1] as number));
  const typical = [...lengths].sort((a, b) => a - b)[lengths.length >> 1] || 1;
  context.strokeStyle = colour("faint");
  context.lineWidth = 1.1;
  context.beginPath();
  for (const [i, length] of lengths.entries()) {
    if (!(length > 0 && length < Number.POSITIVE_INFINITY)) continue;
    const x = left + (((i % side) + 0.5) * (right - left)) / side;
    const y = bottom + ((Math.floor(i / side) + 0.5) * (top - bottom)) / side;
    const [across, down] = place(frame, x, y);
    const reach = (0.48 * cell * length) / (length + 0.5 * typical) / length;
    const [dx, dy] = [(field[2 * i] as number) * reach, -(field[2 * i + 1] as number) * reach];
    context.moveTo(across - dx, down - dy);
    context.lineTo(across + dx, down + dy);
    // The head: two strokes back from the tip.
    context.moveTo(across + 0.35 * dx - 0.35 * dy, down + 0.35 * dy + 0.35 * dx);
    context.lineTo(across + dx, down + dy);
    context.lineTo(across + 0.35 * dx + 0.35 * dy, down + 0.35 * dy - 0.35 * dx);
  }
  context.stroke();
}

function drawDots(points: Float32Array, frame: Viewport, fill: string, radius: number, opacity: number): void {
  context.fillStyle = fill;
  context.globalAlpha = opacity;
  context.beginPath();
  for (let i = 0; i < points.length; i += 2) {
    const [x, y] = place(frame, points[i] as number, points[i + 1] as number);
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }
  context.fill();
  context.globalAlpha = 1;
}

function drawPath(path: Float32Array, frame: Viewport, width: number, opacity: number): void {
  context.strokeStyle = colour("symplectic");
  context.lineWidth = width;
  context.globalAlpha = opacity;
  context.lineJoin = "round";
  context.beginPath();
  for (let i = 0; i < path.length; i += 2) context.lineTo(...place(frame, path[i] as number, path[i + 1] as number));
  context.stroke();
  context.globalAlpha = 1;
}

/** A ball where it is by now on its path, which it takes again and again. */
function drawMoving(path: Float32Array, times: Float32Array, frame: Viewport): void {
  const end = times.at(-1) ?? 0;
  const now = isMoving() ? (performance.now() / 1000) % (end + REST) : 0;
  const next = times.findIndex((time) => time >= now);
  const at = next < 0 ? times.length - 1 : next;
  drawDots(path.slice(2 * at, 2 * at + 2), frame, colour("ink"), 5, 1);
}

/** The ground, and a flag on the target. */
function drawGround(frame: Viewport, target: number | undefined): void {
  const [, level] = place(frame, 0, 0);
  context.strokeStyle = colour("soft");
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(0, level);
  context.lineTo(frame.width, level);
  context.stroke();
  if (target === undefined) return;
  const [x, top] = place(frame, target, 1);
  context.strokeStyle = colour("second");
  context.fillStyle = colour("second");
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x, level);
  context.lineTo(x, top);
  context.stroke();
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x + 16, top + 6);
  context.lineTo(x, top + 12);
  context.fill();
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
