// The command `fit` over workers: the estimates of this machine alone.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { start } from "../command.mjs";
import { cleanups, freshPrefix } from "./processes.js";
import { type Server, startServers } from "./server.mjs";

const folder = mkdtempSync(joinPath(tmpdir(), "symplectic-adjoint-fit-"));
const file = (name: string) => joinPath(folder, name);
let server: Server;

beforeAll(async () => {
  [server] = (await startServers()) as [Server];
  writeFileSync(file("decay.txt"), "param k = 0.5\nC' = -k * C / V\n");
  const rows = Array.from({ length: 60 }, (_, patient) =>
    [0, 1, 2, 4].map((t) => {
      const V = 1 + 0.02 * patient;
      return [patient, t, V, Math.exp((-0.3 * t) / V) + 0.01 * Math.sin(7 * patient + t)].join(",");
    }),
  );
  writeFileSync(file("cohort.csv"), ["patient,time,V,C", ...rows.flat()].join("\n"));
});
afterAll(async () => {
  await server.remove();
  rmSync(folder, { recursive: true, force: true });
});

const begin = (args: string[]) => {
  const command = start(args, { cwd: folder });
  cleanups.push(() => command.child.kill("SIGKILL"));
  return command;
};
const fit = ["fit", "cohort.csv", "--id", "patient", "--equations", "decay.txt", "--arguments", "V"];
const at = (prefix: string) => ["--servers", server.url, "--prefix", prefix];

test("estimates and profile are those of this machine alone, to all digits that are shown", async () => {
  const prefix = freshPrefix();
  begin(["worker", ...at(prefix), "--threads", "2", "--quiet"]);
  const more = ["--profile", "--report"];
  const here = await begin([...fit, ...more, "local.html", "--out", "local"]).done;
  const there = await begin([...fit, ...more, "remote.html", "--out", "remote", ...at(prefix)]).done;
  expect(here.code, here.err).toBe(0);
  expect(there.code, there.err).toBe(0);
  expect(there.out.replaceAll("remote", "local")).toBe(here.out);
  expect(readFileSync(file("remote.html"), "utf8")).toContain("<svg");
  expect(there.err).toMatch(/iteration 1 {3}cost \S+ {3}1 worker, [\d.]+ shards\/s, \d+ in flight/);
});

test("without a worker it says how to start one, and Ctrl-C ends it", async () => {
  const prefix = freshPrefix();
  const waiting = begin([...fit, ...at(prefix), "--out", "waiting"]);
  await waiting.said((text: string) => /no worker takes part yet; start some with: npx/.exec(text) ?? undefined);
  waiting.child.kill("SIGINT");
  const { code, err } = await waiting.done;
  expect(code).toBe(130);
  expect(err).toMatch(/stopped before the first iteration; nothing was written\n$/);
  expect(existsSync(file("waiting"))).toBe(false);
});

test("what cannot be is said before anything is written", async () => {
  const mistakes: [string[], number, RegExp][] = [
    [["--creds", "x"], 2, /--creds: expected --servers as well/],
    [["--servers", "http://localhost:1"], 2, /error: --servers: expected addresses that begin with nats/],
    [["--servers", server.url, "--prefix", "a b"], 2, /error: --prefix: expected 1 to 64 letters/],
  ];
  for (const [args, status, message] of mistakes) {
    const { code, err } = await begin([...fit, "--out", "never", ...args]).done;
    expect([code, err], args.join(" ")).toEqual([status, expect.stringMatching(message)]);
  }
  expect(existsSync(file("never"))).toBe(false);
});
