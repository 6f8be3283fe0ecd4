// What counts as a pool where one is taken: one of this package, whose solves are exact and whose errors are typed.
import { isObject, rule } from "../checks/rules.js";
import type { Pool } from "./pool-types.js";

const pools = /* @__PURE__ */ new WeakSet<object>();

/** Has an object taken for a pool. */
export function registerPool(pool: Pool): void {
  pools.add(pool);
}

/** The rule of options that take a pool. */
export const poolRule = rule<Pool>(
  "a pool, from parallel or connect",
  (value) => isObject(value) && pools.has(value as object),
);
