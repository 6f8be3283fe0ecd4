// `symplectic-adjoint bench`.
import { Command } from "commander";
import { bench } from "../bench.js";
import { print } from "../say.js";
import { asJson, json } from "./options.js";

export const benchCommand = new Command("bench")
  .summary("time the gradient methods here")
  .description("Times each gradient on small cases on this machine, and shows its memory.")
  .addOption(json())
  .action(({ json }) => {
    const result = bench();
    if (json) return asJson(result);
    const { kind, simd, registerBits } = result.machine;
    const build = kind === "native" ? `native, registers of ${registerBits} bits` : simd;
    print(`${result.machine.cpu}, Node ${result.machine.node}, ${build}, one thread, float32\n`);
    print("case    gradient         ms    peak memory   against backprop");
    for (const { case: name, gradient, ms, bytes, error } of result.results) {
      const cells = [ms.toPrecision(3).padStart(6), `${(bytes / 1024).toFixed(0)} KiB`.padStart(14)];
      print(
        `${name.padEnd(8)}${gradient.padEnd(12)} ${cells.join("")}   ${error === 0 ? "bitwise" : error.toExponential(1)}`,
      );
    }
  });
