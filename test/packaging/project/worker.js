import * as api from "symplectic-adjoint";
import { check } from "./check.mjs";

postMessage(check(api));
