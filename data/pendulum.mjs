// Writes pendulum.csv: a damped pendulum, θ″ = −2 sin θ − 0.2 θ′, let go twelve times and seen at irregular times through noise.
import { writeFileSync } from "node:fs";
import { custom, odeint } from "../dist/index.js";

const field = custom({
  stateSize: 2,
  dtype: "float64",
  evaluate: (_, y) => Float64Array.of(y[1], -2 * Math.sin(y[0]) - 0.2 * y[1]),
  vjp: (_, y, w) => ({ y: Float64Array.of(-2 * Math.cos(y[0]) * w[1], w[0] - 0.2 * w[1]) }),
});

let state = 1;
/** Uniform in [0, 1): Lehmer's generator. */
const uniform = () => {
  state = (state * 48271) % 2147483647;
  return state / 2147483647;
};
/** Of deviation 0.03: twelve uniform numbers have variance 1. */
const noise = () => 0.03 * (Array.from({ length: 12 }, uniform).reduce((sum, value) => sum + value) - 6);

const lines = ["trajectory,time,angle,velocity"];
for (let trajectory = 1; trajectory <= 12; trajectory++) {
  const start = Float64Array.of(4 * uniform() - 2, 3 * uniform() - 1.5);
  const times = [0];
  while (times.length < 40) times.push((times.at(-1) ?? 0) + 0.1 + 0.3 * uniform());
  const { y } = odeint(field, start, times, { rtol: 1e-9, atol: 1e-9 });
  for (const [i, time] of times.entries()) {
    const [angle, velocity] = [y[2 * i] + noise(), y[2 * i + 1] + noise()];
    lines.push([trajectory, time.toFixed(3), angle.toFixed(3), velocity.toFixed(3)].join(","));
  }
}
writeFileSync(new URL("pendulum.csv", import.meta.url), `${lines.join("\n")}\n`);
