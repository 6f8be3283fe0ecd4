// Where contenders that are not of this package come from: the peers' packages, in a folder of their own that git ignores, and
// the native build. Each is a command's beginning, or why it is missing.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { platformOf } from "../../scripts/platforms.mjs";
import { attempt, root } from "../../scripts/run.mjs";
import { pin } from "./child.mjs";

const folder = join(root, "bench/.peers");
const python = join(folder, "python", process.platform === "win32" ? "Scripts/python.exe" : "bin/python");

const packages = {
  // With SciPy, which JAX needs.
  jax: ["jax", "diffrax", "equinox", "optimistix"],
  torch: ["torch", "torchdiffeq"],
  node: ["@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm", "@jax-js/jax"],
  fits: ["ml-levenberg-marquardt"],
};

/** What `--peers` installs for gradients. */
export const PEERS = ["jax", "torch", "node"];

/**
 * The peers, set up when they are first asked for where they are not yet; `node` is what the JavaScript ones run in. Those left out
 * are not wanted.
 *
 * @param {string} node
 * @param {readonly string[]} without
 */
export function peerEnvironments(node, without = []) {
  return {
    wanted: (name) => !without.includes(name),
    get jax() {
      return pythonPackages("jax");
    },
    get torch() {
      return pythonPackages("torch");
    },
    get node() {
      return nodePackages("node", node);
    },
    get fits() {
      return nodePackages("fits", node);
    },
  };
}

/** A Python with the packages of a peer. */
export function pythonPackages(name) {
  const interpreter = ["python3", "python"].find((command) => attempt(command, ["--version"]).status === 0);
  if (!existsSync(python)) {
    if (!interpreter) return { missing: "no Python here" };
    const made = attempt(interpreter, ["-m", "venv", join(folder, "python")]);
    if (made.status !== 0) return { missing: `no virtual environment: ${failureReason(made)}` };
  }
  const what = packages[name];
  return once(name, what, () => attempt(python, ["-m", "pip", "install", "--quiet", ...what])) ?? { command: [python] };
}

function nodePackages(name, node) {
  const place = join(folder, name);
  const what = packages[name];
  const installed = once(name, what, () => {
    mkdirSync(place, { recursive: true });
    const quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    return attempt("npm", ["install", "--prefix", place, ...quiet, ...what]);
  });
  return installed ?? { command: [node], argument: place };
}

/** Runs an installation unless that was done, for the same packages; why it failed, if it did. */
function once(name, what, body) {
  const done = join(folder, `${name}.ok`);
  const list = what.join("\n");
  if (existsSync(done) && readFileSync(done, "utf8") === list) return undefined;
  console.error(`Installing ${what.join(", ")} (for the comparison alone; it may take minutes) …`);
  const result = body();
  if (result.status !== 0) return { missing: `not installed: ${failureReason(result)}` };
  writeFileSync(done, list);
  return undefined;
}

/** The addon in a Node, built first if wanted and Rust is there: the width of its registers, or why it is missing. */
export function addonIn(node, { build }) {
  if (build) attempt(process.execPath, [join(root, "scripts/build-native.mjs")]);
  const program = "import('./dist/index.js').then(({ engine }) => console.log(engine().registerBits))";
  const env = { ...process.env, SYMPLECTIC_ADJOINT_ENGINE: "native" };
  const asked = attempt(node, ["-e", program], { env, cwd: root, shell: false });
  if (asked.status === 0) return { registerBits: Number(asked.stdout) };
  const built = existsSync(join(root, `native/symplectic-adjoint.${platformOf()}.node`));
  return { missing: built ? failureReason(asked) : "not built here; npm run build:native builds it" };
}

/** The crate alone. */
export function nativeBench() {
  if (attempt("cargo", ["--version"]).status !== 0) return { missing: "no cargo here" };
  console.error("Building the native benchmark …");
  const [cargo, ...build] = pin(["cargo", "bench", "--bench", "gradients", "--no-run", "--message-format=json"]);
  const built = attempt(cargo, build, { maxBuffer: 2 ** 28 });
  if (built.status !== 0) return { missing: `not built: ${failureReason(built)}` };
  const messages = built.stdout.split("\n").filter((line) => line.startsWith("{"));
  const { executable } = messages.map((line) => JSON.parse(line)).findLast((message) => message.executable) ?? {};
  return executable ? { command: [executable, "--serve"] } : { missing: "cargo names no executable" };
}

/** @param {{ error?: Error, stderr: string }} result */
function failureReason({ error, stderr }) {
  const lines = (error?.message ?? stderr ?? "").trim().split("\n");
  return (lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1) ?? "").trim().slice(0, 200);
}
