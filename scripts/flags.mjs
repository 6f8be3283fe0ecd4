// What the scripts that build a site and serve it are told.
import { parseArgs } from "node:util";
import { messageOf } from "./run.mjs";

/**
 * Whether `npm run NAME` is to build only; ends this process for anything else that it is told.
 *
 * @param {string} name
 */
export function buildsOnly(name) {
  try {
    const { build } = parseArgs({ options: { build: { type: "boolean" } } }).values;
    // npm swallows a flag that stands before its own "--", but says so in the environment.
    return build || process.env.npm_config_build === "true";
  } catch (error) {
    console.error(`${messageOf(error)}\nusage: npm run ${name} [-- --build]`);
    return process.exit(2);
  }
}
