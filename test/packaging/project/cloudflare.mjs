// A Cloudflare worker, where bytes may not be compiled: the module is imported.
import module from "symplectic-adjoint/simd.wasm";
import * as api from "symplectic-adjoint/slim";
import { check, refusal } from "./check.mjs";

export default {
  async fetch() {
    const bytes = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
    const refused = await refusal(() => api.init({ module: bytes, simd: "simd128" }));
    await api.init({ module, simd: "simd128" });
    const alone = await refusal(() => api.parallel());
    return new Response(`slim: ${check(api)} | ${refused} | ${alone}`);
  },
};
