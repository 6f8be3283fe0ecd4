// Network namespaces of Linux, each a machine with a link of its own to one switch. All of them, and the processes in them, lie within a
// namespace that nobody else sees: they end with the process that made it, however that ends.
import { spawn, spawnSync } from "node:child_process";

/** As another user, one is root within the namespace alone. */
const AS_ROOT = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
const APART = [...AS_ROOT, "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
const SWITCH = "10.77.0.1";
const MAKE_SWITCH = `ip link set lo up && ip link add switch type bridge && ip addr add ${SWITCH}/24 dev switch && ip link set switch up`;
// A namespace within, as machines have, and a link to it.
const TRY_LINK = 'unshare --net sh -c "echo; cat" | { read -r _; ip link add link1 type veth peer name eth0; }';

/** Why there can be no such network here; undefined where there can. */
export function missingNetwork() {
  if (process.platform !== "linux") return `network namespaces are of Linux, and this is ${process.platform}`;
  const { status, error, stderr } = spawnSync("unshare", [...APART, "sh", "-c", `${MAKE_SWITCH} && ${TRY_LINK}`], {
    encoding: "utf8",
    input: "",
  });
  return status === 0 ? undefined : `no network namespaces: ${error?.message ?? stderr.trim()}`;
}

/**
 * Runs a script of Node in a namespace with a switch.
 *
 * @param {string} script
 * @param {readonly string[]} args
 */
export const spawnInNetwork = (script, args) =>
  spawn("unshare", [...APART, "sh", "-c", `${MAKE_SWITCH} && exec "$@"`, "sh", process.execPath, script, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });

/** The address of the machine at the switch, in such a script. */
export const host = SWITCH;

let machines = 1;

/** @param {readonly string[]} args */
function ip(...args) {
  const { status, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
}

/**
 * Runs a script of Node on a machine of its own, in such a script. `cut` takes its link away: packets vanish, and no connection ends;
 * `heal` gives it back.
 *
 * @param {readonly string[]} args
 */
export async function machine(args) {
  const number = ++machines;
  const own = `10.77.0.${number}`;
  const link = `link${number}`;
  const body = `echo; read -r _; ip link set lo up; ip addr add ${own}/24 dev eth0; ip link set eth0 up; exec "$@"`;
  const child = spawn("unshare", ["--net", "sh", "-c", body, "sh", process.execPath, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  // Then it is in its namespace.
  await new Promise((resolve) => child.stdout.once("data", resolve));
  ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", String(child.pid));
  ip("link", "set", link, "master", "switch", "up");
  child.stdin.end("\n");
  return { child, cut: () => ip("link", "set", link, "down"), heal: () => ip("link", "set", link, "up") };
}
