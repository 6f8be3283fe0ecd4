import { check, refusal } from "./check.mjs";
import * as api from "./node_modules/symplectic-adjoint/dist/index.js";

let report = "";
const refused = await refusal(() => {
  report = check(api);
});
postMessage(report || refused);
