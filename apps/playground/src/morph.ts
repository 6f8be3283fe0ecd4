// The slider from noise to data, moved by hand or played; a picture is asked for when the one before has come.
import { byId } from "./dom.js";

/** Milliseconds from noise to data. */
const DURATION = 3000;

const row = byId("morph");
const slider = byId<HTMLInputElement>("morph-at");
const play = byId("morph-play");
let ask: (at: number) => void = () => {};
let [playing, asked, before] = [false, false, 0];

export function setUp(onAsk: (at: number) => void): void {
  ask = onAsk;
  slider.addEventListener("input", () => {
    setPlaying(false);
    request();
  });
  play.addEventListener("click", () => {
    if (!playing && Number(slider.value) === 1) slider.value = "0";
    setPlaying(!playing);
    if (playing) request();
  });
}

export function show(morphs: boolean): void {
  row.hidden = !morphs;
  setPlaying(false);
  slider.value = "1";
  asked = false;
  if (morphs) ask(1);
}

/** A picture has come. */
export function arrived(): void {
  const moved = asked;
  asked = false;
  if (!playing) return;
  // Pictures that training has sent are not ours to count.
  if (moved) {
    const now = performance.now();
    const next = Math.min(1, Number(slider.value) + (now - before) / DURATION);
    before = now;
    slider.value = String(next);
    if (next === 1) setPlaying(false);
  }
  request();
}

function request(): void {
  asked = true;
  ask(Number(slider.value));
}

function setPlaying(value: boolean): void {
  playing = value;
  before = performance.now();
  play.textContent = playing ? "Pause" : "Play";
}
