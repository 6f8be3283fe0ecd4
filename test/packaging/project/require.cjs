const api = require("symplectic-adjoint");

import("./check.mjs").then(({ check }) => console.log(`require: ${check(api)}`));
