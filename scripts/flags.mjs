// What the scripts that build a site and serve it are told.
import { parseArgs } from "node:util";

/** Whether `npm run NAME` is to build only; ends this process for anything else that it is told. */
export function buildsOnly(name) {
  try {
    const { build } = parseArgs({ options: { build: { type: "boolean" } } }).values;
    // npm swallows a flag that stands before its own "--", but says so in the environment.
    return build || process.env.npm_config_build === "true";
  } catch (error) {
    console.error(`${error.message}\nusage: npm run ${name} [-- --build]`);
    return process.exit(2);
  }
}
