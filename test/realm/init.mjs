// What init takes, made in another realm: each is settled on first use, so that the process argument says which.
import { init, mlp, odeint } from "symplectic-adjoint";

const url = new outer.URL("../../wasm/simd.wasm", import.meta.url);
const bytes = outer.Uint8Array.from(outer.readFileSync(url));
const sources = {
  url,
  bytes,
  buffer: bytes.buffer,
  module: new outer.WebAssembly.Module(bytes),
  response: new outer.Response(bytes),
};
await init({ module: sources[process.argv[4]], simd: "simd128" });
const refused = await init({ module: new outer.URL("x.wasm", url) }).catch(({ code }) => code);
console.log(odeint(mlp({ widths: [2, 2] }), new Float32Array(2), [0, 1]).y.length, refused);
