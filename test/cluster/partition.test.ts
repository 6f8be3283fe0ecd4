// Links that go down in the middle of a gradient: no connection ends, but nothing comes over it any more.
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { missingNetwork, spawnInNetwork } from "./network.mjs";
import { cleanups } from "./processes.js";

const script = fileURLToPath(new URL("partition.mjs", import.meta.url));
const ROUNDS = process.env.LONG ? 60 : 2;

test(`workers, ${ROUNDS} times, and a training are cut off and come back: the bits of one process`, async ({
  skip,
}) => {
  const missing = missingNetwork();
  if (missing !== undefined) {
    console.log(`skipped: ${missing}`);
    skip(missing);
  }
  const child = spawnInNetwork(script, [String(ROUNDS)]);
  cleanups.push(() => child.kill("SIGKILL"));
  let [said, wrong] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => {
    said += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    wrong += text;
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  expect([code, wrong]).toEqual([0, ""]);
  const queue = { retried: true, inFlight: 0, rejected: 0 };
  expect(JSON.parse(said)).toEqual({ same: true, ...queue, codes: [0, 0], cuts: 1, model: true });
}, 3_600_000);
