// The playground as a visitor has it: the built page on a host that knows nothing of it, below some path, in Chromium.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, preview } from "vite";
import { equations, load, mlp, save, saveTensors, vjp } from "../dist/index.js";
import { registerRows, symplecticPeak } from "./memory-formula.mjs";
import { launch } from "./platform/chromium.mjs";

const configFile = fileURLToPath(new URL("../apps/playground/vite.config.mjs", import.meta.url));
await build({ configFile, logLevel: "warn" });
const server = await preview({ configFile, base: "/some/path/", preview: { host: "127.0.0.1", port: 0 } });
const { port } = /** @type {import("node:net").AddressInfo} */ (server.httpServer.address());
const browser = await launch();
const begin = performance.now();
const errors = [];

/** A page of its own; what it throws fails the test. */
async function open(hash = "", options = {}) {
  const { routes = [], ...more } = options;
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, acceptDownloads: true, ...more });
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(error));
  for (const [pattern, handler] of routes) await page.route(pattern, handler);
  await page.goto(`http://127.0.0.1:${port}/some/path/${hash}`);
  page.setDefaultTimeout(120_000);
  return page;
}

const number = (text) => Number(text.replaceAll(",", ""));
const stepOf = async (page) => Number((await page.getAttribute("#stats", "data-step")) ?? 0);
const passStep = (page, step) =>
  page.waitForFunction((step) => Number(document.querySelector("#stats").dataset.step) > step, step);
/** The run that is shown, once it is another than this one. */
const anotherRun = async (page, run) => {
  const handle = await page.waitForFunction(
    (run) => ![undefined, run].includes(document.body.dataset.run) && document.body.dataset.run,
    run,
  );
  return handle.jsonValue();
};
const lossOf = async (page) => number(await page.textContent("#loss-now"));
/** How far the solution is from the data, once it has been drawn. */
const errorOf = async (page) => {
  await page.waitForFunction(() => document.querySelector("#series-error").textContent !== "");
  return number((await page.textContent("#series-error")).replace("rms error ", ""));
};
const parametersOf = (page) => page.locator("#parameters tbody th").allTextContents();
const nowOf = (page) => page.locator("#parameters .now").allTextContents();
/** By the keyboard: what is told beside a text that is left moves the button. */
const pressEstimate = (page) => page.getByRole("button", { name: "Estimate", exact: true }).press("Enter");
/** Estimates, and gives what the table has in the end, by name, without rounding. */
async function estimated(page) {
  await pressEstimate(page);
  await page.waitForFunction(() => document.querySelector("#estimates").dataset.state === "done");
  const rows = await page.$$eval("#estimates-table tbody tr", (rows) =>
    /** @type {HTMLElement[]} */ (rows).map((row) => [
      row.querySelector("th")?.textContent,
      JSON.parse(row.dataset.exact ?? ""),
    ]),
  );
  return Object.fromEntries(rows);
}
const bandsOf = (page, count) =>
  page.waitForFunction((count) => document.querySelector("#series").dataset.bands === String(count), count);
const noticeOf = (page, kind) => page.locator(`.notice[data-kind=${kind}]`);
const imageOf = (page, selector) => page.$eval(selector, (canvas) => canvas.toDataURL());
/** The image of a canvas once it is the same from one frame to the next. */
const settled = (page, selector) =>
  page
    .waitForFunction((selector) => {
      const image = document.querySelector(selector).toDataURL();
      const same = window.settling === image;
      window.settling = image;
      return same && image;
    }, selector)
    .then((handle) => handle.jsonValue());
const setting = (page, name) => page.locator(`#settings [name=${name}]`);
const isRunning = (page, running) =>
  page.waitForFunction((is) => document.body.dataset.running === is, String(running));

/** Sets a control as a hand does, but at once. */
async function set(page, name, value) {
  await setting(page, name).evaluate((control, value) => {
    control.value = value;
    control.dispatchEvent(new Event("input", { bubbles: true }));
    control.dispatchEvent(new Event("change", { bubbles: true }));
  }, String(value));
}

/** Bytes and agreement of all methods, once they are measured for what is set now. */
async function measured(page, from) {
  // Waits and reads at once: the next comparison may begin at any time, and empties the rows.
  const handle = await page.waitForFunction((from) => {
    const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".bar")]);
    const text = document.querySelector("#formula").textContent;
    if (rows.length !== 6 || !rows.every((row) => row.dataset.bytes) || !text || text === from) return undefined;
    const told = rows.map((row) => [
      row.dataset.method,
      { bytes: Number(row.dataset.bytes), agreement: row.querySelector(".difference").textContent },
    ]);
    return { rows: Object.fromEntries(told), text };
  }, from);
  return handle.jsonValue();
}

async function download(page) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  return readFileSync(await file.path());
}

/** What a model file holds, in whatever order. */
function contents(file) {
  const { field, metadata } = load(new Uint8Array(file));
  const parameters = field.parameters.slice();
  field.dispose();
  return { parameters, metadata: Object.fromEntries([...metadata].sort()) };
}

/** The functions that equations may call, as the error of any other has them. */
function functionsOf() {
  try {
    equations("x' = none(x)");
  } catch (error) {
    return /a function \((.*?)\)/.exec(error.message)?.[1].split(", ") ?? [];
  }
  return [];
}

/** Where a ball lands that is thrown from a height of 1 m in still air, by small steps of the midpoint rule. */
function landingOf({ across, up, bounciness, landing }) {
  const h = 1e-4;
  let [x, height, left] = [0, 1, landing];
  for (;;) {
    const slow = (u, v, part) => [
      u - part * 0.02 * Math.hypot(u, v) * u,
      v - part * (9.81 + 0.02 * Math.hypot(u, v) * v),
    ];
    const [u, v] = slow(across, up, h / 2);
    const [du, dv] = slow(u, v, h).map((value, i) => value - [u, v][i]);
    const next = height + h * v;
    if (next < 0) {
      const part = height / (height - next);
      x += part * h * u;
      if (--left === 0) return x;
      [height, across, up] = [0, 0.9 * (across + part * du), -bounciness * (up + part * dv)];
    } else {
      [x, height, across, up] = [x + h * u, next, across + du, up + dv];
    }
  }
}
/** An address of equations of so many states, which decay. */
const chain = (size) => {
  const names = [..."abcdefgh"].slice(0, size);
  return new URLSearchParams({
    task: "equations",
    data: "samples",
    equations: names.map((name) => `${name}' = -k * ${name}`).join("\n"),
  });
};
const arityOf = (name) => (["atan2", "min", "max", "grad"].includes(name) ? ", hare" : "");

const upload = (page, bytes, name = "model.safetensors") =>
  page.setInputFiles("#file", { name, mimeType: "application/octet-stream", buffer: Buffer.from(bytes) });

async function test(title, body) {
  const start = performance.now();
  await body();
  console.log(`  ${title} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
}

try {
  await run();
  assert.deepEqual(errors, []);
} finally {
  await browser.close();
  await server.close();
}
console.log(`playground: passed in ${((performance.now() - begin) / 1000).toFixed(0)} s`);
process.exit(0);

async function run() {
  const page = await open();

  await test("begins by itself, and fits the spiral", async () => {
    const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0);
    await passStep(page, 0);
    const [first, curve] = [await imageOf(page, "#plane"), await imageOf(page, "#loss canvas")];
    const start = await lossOf(page);
    await page.waitForFunction(
      () => Number(document.querySelector("#series-error").textContent.replace("rms error ", "")) < 0.15,
    );
    const seconds = (await page.evaluate(() => performance.now())) / 1000;
    assert.ok((await stepOf(page)) < 6000, "in as many steps as a person waits for");
    assert.ok((await lossOf(page)) < start / 30, "the loss has fallen");
    assert.notEqual(await imageOf(page, "#plane"), first);
    assert.notEqual(await imageOf(page, "#loss canvas"), curve);
    console.log(
      `    first paint ${paint.toFixed(0)} ms, fit after ${seconds.toFixed(1)} s, step ${await stepOf(page)}`,
    );
  });

  await test("pauses, takes one step, goes on, begins anew", async () => {
    await page.click("#toggle");
    await isRunning(page, false);
    const paused = await stepOf(page);
    await page.waitForTimeout(200);
    assert.equal(await stepOf(page), paused);
    await page.click("#step");
    await passStep(page, paused);
    assert.equal(await stepOf(page), paused + 1);
    await page.click("#toggle");
    await passStep(page, paused + 1);
    await page.click("#reset");
    await page.waitForFunction((step) => Number(document.querySelector("#stats").dataset.step) < step, paused);
    await isRunning(page, true);
    // What is asked for shows at once, and a new model has no loss before its first step.
    const told = await page.evaluate(() => {
      const toggle = document.querySelector("button#toggle");
      toggle.click();
      return toggle.textContent;
    });
    assert.equal(told, "Pausing…");
    await isRunning(page, false);
    const { run } = await page.$eval("body", (body) => ({ ...body.dataset }));
    await page.click("#reset");
    await anotherRun(page, run);
    assert.equal(await page.textContent("#loss-now"), "");
    await page.click("#toggle");
    await isRunning(page, true);
  });

  await test("tells the memory that the formula has, as steps and width change", async () => {
    const texts = [undefined];
    for (const [width, steps] of [
      [32, 2],
      [32, 8],
      [64, 8],
    ]) {
      if (width !== 32) await set(page, "width", width);
      else if (steps !== 2) await set(page, "steps", steps);
      const { rows, text } = await measured(page, texts.at(-1));
      texts.push(text);
      const dtype = /** @type {const} */ ("float32");
      const widths = [2, width, width, 2];
      const solve = vjp(mlp({ widths }), Float32Array.of(1, 0), [0, 1], { method: "rk4", gradient: "symplectic" });
      const { workspace } = solve.pullback(new Float32Array(4)).stats.peakBytes;
      const registers = registerRows({ widths, batch: 1, dtype }, workspace);
      const network = { widths, batch: 64, dtype, rows: registers, constants: 1 };
      assert.equal(rows.symplectic.bytes, symplecticPeak(network, { steps: 10 * steps, outputs: 11, stages: 4 }));
      for (const method of ["auto", "aca", "baseline", "backprop"]) {
        assert.equal(rows[method].agreement, "bitwise equal");
        assert.ok(rows[method].bytes > rows.symplectic.bytes);
      }
      assert.match(rows.adjoint.agreement, /^off by /);
      assert.ok(rows.backprop.bytes > 4 * rows.aca.bytes);
    }
  });

  await test("offers the least budget that would do", async () => {
    await set(page, "gradient", "auto");
    await set(page, "budget", 1);
    const notice = noticeOf(page, "training");
    await notice.waitFor();
    assert.match(await notice.textContent(), /memoryBudget: expected at least/);
    await isRunning(page, false);
    const stopped = await stepOf(page);
    await notice.getByRole("button", { name: /^Take/ }).click();
    await passStep(page, stopped);
    assert.ok(Number(await setting(page, "budget").inputValue()) > 1);
    assert.equal(await notice.count(), 0);
  });

  await test("refuses a setting that is none", async () => {
    await set(page, "rate", "-1");
    assert.match(
      await noticeOf(page, "setting").textContent(),
      /^learning rate: expected a number from .*, given “-1”\./,
    );
    assert.equal(await setting(page, "rate").inputValue(), "0.01");
  });

  await test("a model goes out, and comes back bitwise", async () => {
    await page.click("#toggle");
    await isRunning(page, false);
    const saved = await download(page);
    assert.equal(contents(saved).parameters.length, 2 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2);
    const before = await stepOf(page);
    await page.click("#step");
    await passStep(page, before);
    assert.notDeepEqual(contents(await download(page)).parameters, contents(saved).parameters);
    await page.locator("#tasks label", { hasText: "Pendulum" }).click();
    await page.waitForFunction(() => location.hash.includes("pendulum"));
    await upload(page, saved);
    await page.waitForFunction(() => document.querySelector("#settings [name=width]").value === "64");
    await isRunning(page, false);
    assert.deepEqual(contents(await download(page)), contents(saved));
  });

  await test("a file that is no model is refused, and training goes on", async () => {
    const model = (metadata, width = 16) => save(mlp({ widths: [2, width, width, 2] }), { metadata });
    const metadata = { task: "spiral", width: "16" };
    const wrong = [
      Buffer.from("no model at all"),
      Buffer.alloc(0),
      saveTensors({ other: { shape: [1], data: new Float32Array(1) } }),
      model({}),
      model(metadata, 3),
      model({ task: "spiral", width: "1e9" }),
      model(metadata).slice(0, -8),
    ];
    await page.click("#toggle");
    await isRunning(page, true);
    for (const bytes of wrong) {
      await upload(page, bytes);
      const notice = noticeOf(page, "load");
      await notice.waitFor();
      assert.match(await notice.textContent(), /not loaded/);
      await notice.getByRole("button", { name: "Dismiss" }).click();
    }
    const large = join(tmpdir(), "too-large.safetensors");
    writeFileSync(large, Buffer.alloc(2 ** 24 + 1));
    await page.setInputFiles("#file", large);
    assert.match(await noticeOf(page, "load").textContent(), /at most 16/);
    await isRunning(page, true);
    assert.equal(await page.textContent("#toggle"), "Pause");
    await passStep(page, await stepOf(page));
  });

  await test("an address opens what it was copied from", async () => {
    await set(page, "gradient", "aca");
    await set(page, "activation", "softplus");
    await set(page, "method", "dopri5");
    await set(page, "stepping", "tolerance");
    await set(page, "tolerance", 0.001);
    await set(page, "rate", 0.003);
    const { hash } = new URL(page.url());
    const other = await open(hash);
    const values = (page) => page.$$eval("#settings [name]", (controls) => controls.map(({ value }) => value));
    await passStep(other, 0);
    assert.deepEqual(await values(other), await values(page));
    assert.equal(new URL(other.url()).hash, hash);
    await other.context().close();
    // Values between those that a slider has are shown as they are.
    for (const [task, name, value] of [
      ["spiral", "width", "33"],
      ["bounce", "bounciness", "0.33"],
    ]) {
      const between = await open(`#task=${task}&${name}=${value}`);
      await passStep(between, 0);
      assert.equal(await between.textContent(`label:has([name=${name}]) output`), value);
      await between.context().close();
    }
  });
  await page.context().close();

  await test("choices that cannot work are not offered, and say why", async () => {
    for (const [hash, name, value, why] of [
      ["task=bounce", "method", "leapfrog", "does not support drag"],
      ["task=bounce", "gradient", "adjoint", "does not support events"],
      ["task=two-moons", "method", "leapfrog", "needs positions and velocities"],
      ["task=pendulum&gradient=adjoint", "method", "leapfrog", "does not support adjoint"],
      ["task=pendulum&method=leapfrog", "gradient", "adjoint", "does not support leapfrog"],
    ]) {
      const page = await open(`#${hash}&${name}=${value}`);
      assert.match(await noticeOf(page, "address").textContent(), new RegExp(`${name}: ${value} ${why}`));
      const option = setting(page, name).locator(`option[value=${value}]`);
      assert.equal(await option.textContent(), `${value} (${why})`);
      assert.ok(await option.isDisabled());
      await passStep(page, 0);
      await page.locator("#tasks label", { hasText: "Spiral" }).click();
      assert.ok(await option.isEnabled());
      assert.equal(await option.textContent(), value);
      await page.context().close();
    }
  });

  await test("what an address must not say is ignored, and told", async () => {
    const hostile = await open(
      "#task=%3Cimg%20src%20onerror%3Dalert(1)%3E&width=1e9&layers=NaN&steps=-3&rate=&budget=Infinity&__proto__=x&toString=y&%E0%A4%A=z&activation=tanh%00",
    );
    await passStep(hostile, 0);
    const notice = await noticeOf(hostile, "address").textContent();
    assert.match(notice, /task: expected spiral/);
    assert.match(notice, /width: expected a whole number from 2 to 128/);
    assert.equal(await hostile.$$eval("img", (images) => images.length), 0);
    assert.equal(await setting(hostile, "width").inputValue(), "32");
    // And a change of the address of an open page is one of its configuration.
    await hostile.evaluate(() => {
      location.hash = "task=lynx-hare&width=16";
    });
    await hostile.waitForFunction(() => document.querySelector("#stats").textContent.includes("windows of"));
    assert.equal(await setting(hostile, "width").inputValue(), "16");
    await hostile.context().close();
  });

  await test("a training that goes astray says so, and begins anew", async () => {
    const wild = await open("#rate=10&activation=relu&method=euler&steps=1");
    const notice = noticeOf(wild, "training");
    await notice.waitFor();
    assert.match(await notice.textContent(), /NON_FINITE/);
    await notice.getByRole("button", { name: /tenth/ }).click();
    await passStep(wild, 0);
    assert.equal(await setting(wild, "rate").inputValue(), "1");
    await wild.context().close();
  });

  await test("a gradient that takes long does not hold the page up", async () => {
    const slow = await open("#task=two-moons&layers=4&width=128&method=dopri8&steps=64");
    await slow.waitForFunction(() => document.body.dataset.run === "1");
    await slow.locator("#tasks label", { hasText: "Spiral" }).click();
    // What is set while the page waits is kept.
    await set(slow, "rate", "0.003");
    await slow.click("#toggle");
    await anotherRun(slow, "1");
    assert.equal(await slow.$eval("body", (body) => body.dataset.run), "2");
    await isRunning(slow, false);
    assert.equal(contents(await download(slow)).metadata.rate, "0.003");
    await slow.click("#toggle");
    await passStep(slow, 0);
    await slow.context().close();
  });

  await test("without its module the page tells why", async () => {
    const cut = await open("", { routes: [["**/*.wasm", (route) => route.fulfill({ status: 404, body: "none" })]] });
    await noticeOf(cut, "start").waitFor();
    assert.equal(await cut.textContent("#toggle"), "Run");
    assert.match(await noticeOf(cut, "start").textContent(), /FILE.*404/);
    await cut.context().close();
    const dead = await open("", { routes: [["**/worker-*.js", (route) => route.fulfill({ status: 404, body: "" })]] });
    await noticeOf(dead, "worker").waitFor();
    await dead.unroute("**/worker-*.js");
    await dead.getByRole("button", { name: "Start again" }).click();
    await passStep(dead, 0);
    await dead.context().close();
  });

  await test("a phone's width holds every task; the density morphs", async () => {
    const phone = await open("", { viewport: { width: 360, height: 740 }, hasTouch: true, reducedMotion: "reduce" });
    let run = "0";
    for (const task of ["Spiral", "Lynx and hare", "Pendulum", "Bouncing ball", "Equations", "Two moons"]) {
      if (task !== "Spiral") await phone.locator("#tasks label", { hasText: task }).click();
      // What the page tells of the task before it is not of this one.
      run = await anotherRun(phone, run);
      await phone.waitForFunction(() => document.querySelectorAll(".bar").length === 6);
      await passStep(phone, 0);
      if (task === "Equations") await estimated(phone);
      await phone.locator("details").evaluate((details) => details.setAttribute("open", ""));
      assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth), 360, task);
      const heights = await phone.$$eval("input[type=range]", (sliders) =>
        sliders.filter((slider) => slider.checkVisibility()).map((slider) => slider.getBoundingClientRect().height),
      );
      assert.ok(Math.min(...heights) >= 24, `${task}: sliders of ${heights} pixels`);
    }
    await phone.click("#toggle");
    await isRunning(phone, false);
    const drawnAt = async (at) => {
      await phone.waitForFunction((at) => document.querySelector("#plane").dataset.at === at, at);
      return imageOf(phone, "#plane");
    };
    const data = await drawnAt("1");
    await phone.locator("#morph-at").fill("0");
    const noise = await drawnAt("0");
    assert.notEqual(noise, data);
    await phone.click("#morph-play");
    await phone.waitForFunction(() => document.querySelector("#morph-at").value === "1");
    assert.notEqual(await drawnAt("1"), noise);
    // Where motion is not wanted the diagram stands still, and is moved through by hand.
    const moment = phone.getByRole("slider", { name: "Moment" });
    await moment.scrollIntoViewIfNeeded();
    const still = await moment.inputValue();
    await phone.waitForTimeout(300);
    assert.equal(await moment.inputValue(), still);
    const widths = () => phone.$$eval(".fill", (fills) => fills.map(({ style }) => style.width));
    const before = await widths();
    await moment.fill("0.38");
    assert.notDeepEqual(await widths(), before);
    await phone.context().close();
  });

  await test("a throw is learned through its bounces, to where one clicks", async () => {
    const thrown = await open("#task=bounce&gusts=0");
    const lands = (target) =>
      thrown.waitForFunction((target) => {
        const told = [...document.querySelectorAll("#figures div")].map(({ textContent }) => textContent);
        const distance = /^lands at(.*) ± 0\.00 m$/.exec(told.find((text) => text.startsWith("lands at")) ?? "");
        return distance && Math.abs(Number(distance[1]) - target) < 0.03;
      }, target);
    await lands(9);
    const figure = (term) => thrown.locator("#figures div", { hasText: term }).locator("dd").textContent();
    // Sixteen balls, each with two landings.
    assert.equal(await figure("events found"), "32");
    const plane = thrown.locator("#plane");
    const { width, height } = /** @type {{ width: number, height: number }} */ (await plane.boundingBox());
    await plane.click({ position: { x: (width * 5.6) / 13.2, y: height / 2 } });
    await thrown.waitForFunction(() => location.hash.includes("target=5"));
    const slider = setting(thrown, "target");
    assert.equal(await slider.inputValue(), "5");
    await lands(5);
    // The keyboard aims too, and training goes on from the throw as it is.
    const step = await stepOf(thrown);
    await slider.press("ArrowRight");
    await thrown.waitForFunction(() => location.hash.includes("target=5.1"));
    await lands(5.1);
    assert.ok((await stepOf(thrown)) > step);
    await thrown.click("#toggle");
    await isRunning(thrown, false);
    const { parameters } = contents(await download(thrown));
    const [across, up] = parameters;
    const found = landingOf({ across, up, bounciness: 0.7, landing: 2 });
    assert.ok(Math.abs(found - 5.1) < 0.04, `the ball lands at ${found}`);
    // The ball on its path rests while training does.
    const still = await settled(thrown, "#plane");
    await thrown.waitForTimeout(200);
    assert.equal(await imageOf(thrown, "#plane"), still);
    const agreements = await thrown.waitForFunction(() => {
      const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".bar")]);
      const told = rows.map((row) => [row.dataset.method, row.querySelector(".difference").textContent]);
      const done = told.every(([method, text]) => method === "symplectic" || text !== "");
      return rows.length === 6 && done && Object.fromEntries(told);
    });
    assert.deepEqual(await agreements.jsonValue(), {
      symplectic: "",
      auto: "bitwise equal",
      aca: "bitwise equal",
      baseline: "bitwise equal",
      backprop: "bitwise equal",
      adjoint: "not with events",
    });
    // Other settings change what happens, and not the throw.
    await set(thrown, "landing", 1);
    await thrown.waitForFunction(() => document.querySelector("#figures").textContent.endsWith("events found16"));
    assert.deepEqual(contents(await download(thrown)).parameters, parameters);
    await set(thrown, "gusts", 4);
    await thrown.waitForFunction(
      () => !/lands at[0-9.]+ ± 0\.00 m/.test(document.querySelector("#figures").textContent),
    );
    // Angles are whole degrees, none of them −0.
    for (const { up, angle } of [
      { up: -0.02, angle: "0°" },
      { up: -1, angle: "−6°" },
    ]) {
      const metadata = { task: "bounce" };
      const parameters = { across: 10, up };
      await upload(thrown, save(equations("x' = across + up", { parameters, dtype: "float32" }), { metadata }));
      await thrown.waitForFunction(
        (angle) => document.querySelector("#figures dd")?.textContent.endsWith(` ${angle}`),
        angle,
      );
    }
    await thrown.context().close();
  });

  await test("equations that are typed are fitted to the record", async () => {
    const typed = await open("#task=equations");
    await passStep(typed, 0);
    assert.deepEqual(await parametersOf(typed), ["birth", "hunt", "feed", "death"]);
    await typed.click("#toggle");
    await isRunning(typed, false);
    // A prey that is bounded: a parameter more, named as it is typed.
    const text = typed.getByRole("textbox", { name: "Equations, one per line" });
    await text.fill("");
    await text.pressSequentially(
      "room = 1 - hare / most # of the prey\nhare' = hare * (birth * room - hunt * lynx)\nlynx' = lynx * (feed * hare - death)",
    );
    await typed.waitForFunction(() => document.querySelectorAll("#parameters tbody tr").length === 5);
    assert.deepEqual(await parametersOf(typed), ["most", "birth", "hunt", "feed", "death"]);
    const initial = typed.getByRole("spinbutton", { name: "most, initial value" });
    assert.equal(await initial.inputValue(), "1");
    assert.equal(await typed.getByRole("spinbutton", { name: "hunt, initial value" }).inputValue(), "0.02");
    const { run } = await typed.$eval("body", (body) => ({ ...body.dataset }));
    await initial.fill("200");
    await initial.press("Enter");
    await typed.waitForFunction((run) => document.body.dataset.run !== run, run);
    assert.ok(await initial.evaluate((input) => input === document.activeElement), "the focus stays");
    // Where one has paused, another text waits too.
    await isRunning(typed, false);
    await typed.click("#step");
    await passStep(typed, 0);
    const [loss, error] = [await lossOf(typed), await errorOf(typed)];
    await typed.click("#toggle");
    await typed.waitForFunction(() => /^all/.test(document.querySelector("#stats div:last-child dd")?.textContent));
    await passStep(typed, 1200);
    assert.ok((await lossOf(typed)) < loss / 2, `loss ${loss}, then ${await lossOf(typed)}`);
    assert.ok((await errorOf(typed)) < error / 2, `error ${error}, then ${await errorOf(typed)}`);
    const [, , hunt] = await nowOf(typed);
    assert.ok(Math.abs(Number(hunt) - 0.03) < 0.02, `hunt ${hunt}`);
    // The link has the text, and the numbers.
    const other = await open(new URL(typed.url()).hash);
    await passStep(other, 0);
    assert.equal(await other.inputValue("#equations-text"), await text.inputValue());
    assert.equal(await other.getByRole("spinbutton", { name: "most, initial value" }).inputValue(), "200");
    await other.context().close();
    // So has a model file.
    await typed.click("#toggle");
    await isRunning(typed, false);
    // Both have what has just been typed.
    await typed.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await text.evaluate((/** @type {HTMLTextAreaElement} */ area) => {
      area.value += " # of lynx";
      area.dispatchEvent(new Event("input", { bubbles: true }));
      /** @type {HTMLElement} */ (document.querySelector("#share")).click();
    });
    await noticeOf(typed, "share").getByText("Link copied. It opens this configuration.").waitFor();
    const { hash } = new URL(await typed.evaluate(() => navigator.clipboard.readText()));
    assert.match(new URLSearchParams(hash.slice(1)).get("equations") ?? "", /# of lynx$/);
    await text.press("ControlOrMeta+End");
    await text.pressSequentially("es");
    assert.match(contents(await download(typed)).metadata.equations, /# of lynxes$/);
    const saved = await download(typed);
    await typed.locator("#tasks label", { hasText: "Spiral" }).click();
    await typed.waitForFunction(() => location.hash.includes("spiral"));
    assert.equal(await text.count(), 0, "the editor is that of its task");
    await upload(typed, saved);
    await typed.waitForFunction(() => document.querySelectorAll("#parameters tbody tr").length === 5);
    assert.deepEqual(contents(await download(typed)), contents(saved));
    // Each task keeps what is set in it.
    await typed.locator("#tasks label", { hasText: "Pendulum" }).click();
    await typed.waitForFunction(() => location.hash === "#task=pendulum");
    await typed.locator("#tasks label", { hasText: "Equations" }).click();
    await passStep(typed, 0);
    assert.deepEqual(await parametersOf(typed), ["most", "birth", "hunt", "feed", "death"]);
    // Without parameters, initial states are left to estimate from the record, and nothing from samples.
    const estimate = typed.getByRole("button", { name: "Estimate", exact: true });
    await text.fill("hare' = 1\nlynx' = 1");
    await typed.waitForFunction(() => document.querySelectorAll("#parameters tbody tr").length === 0);
    assert.ok(await estimate.isEnabled());
    await set(typed, "data", "samples");
    assert.ok(await estimate.isDisabled());
    await typed.context().close();
  });

  await test("a mistake in equations is shown where it is, and training goes on with those before", async () => {
    const typed = await open("#task=equations");
    await passStep(typed, 0);
    const text = typed.locator("#equations-text");
    const good = await text.inputValue();
    const error = typed.locator("#equations-error");
    await text.press("ControlOrMeta+Home");
    await text.press("End");
    await text.pressSequentially(" + * 2");
    await error.getByText("Line 1, column 40: expected a value after +; given *.").waitFor();
    assert.equal(await text.getAttribute("aria-invalid"), "true");
    assert.equal(await typed.textContent("#equations-excerpt mark"), "*");
    await typed.getByRole("button", { name: "Go there" }).click();
    const [focused, at] = await typed.evaluate(() => {
      const { id, selectionStart } = /** @type {HTMLTextAreaElement} */ (document.activeElement);
      return [id, selectionStart];
    });
    assert.deepEqual([focused, at], ["equations-text", 39]);
    const step = await stepOf(typed);
    await passStep(typed, step);
    assert.ok((await stepOf(typed)) > step);
    // Taken back, it has done nothing.
    await text.fill(good);
    await typed.waitForFunction(() => document.querySelector("#equations-error").textContent === "");
    await passStep(typed, step);
    assert.equal(await text.getAttribute("aria-invalid"), null);
    /** @type {[bad: string, message: RegExp][]} */
    const refused = [
      ["", /at least one line name' = expression/],
      ["hare", /^Line 1, column 1: /],
      ["hare' = hare\nlynx' = 2x", /^Line 2, column 9: .*2\*x/],
      ["hare' = exp", /^Line 1, column 9: .*exp\(x\)/],
      ["__proto__' = constructor.name", /^Line 1, column /],
      [`hare' = ${"(".repeat(900)}hare${")".repeat(900)}`, /a shorter expression/],
      [
        `hare' = hare${" + hare".repeat(300)}`,
        /^Expected a text of at most 2000 characters, given a text of 2112 characters\.$/,
      ],
      ["x' = k * x", /expected equations for hare and lynx.*given equations for x\.$/],
    ];
    for (const [bad, message] of refused) {
      const before = await error.textContent();
      await text.fill(bad);
      await typed.waitForFunction((before) => {
        const { textContent } = document.querySelector("#equations-error");
        return textContent !== "" && textContent !== before;
      }, before);
      assert.match((await error.textContent()) ?? "", message);
    }
    // All functions of the package are known as such.
    const functions = functionsOf();
    await text.fill(
      `hare' = hare * ${functions.map((name) => `${name}(hare${arityOf(name)})`).join(" * ")}\nlynx' = lynx * k`,
    );
    await typed.waitForFunction(() => document.querySelectorAll("#parameters tbody tr").length === 1);
    assert.deepEqual(await parametersOf(typed), ["k"]);
    await text.fill("x' = k * x");
    await error.getByText("given equations for x.").waitFor();
    // What the record does not have can be fitted to samples of its own.
    await typed.getByRole("button", { name: "Fit samples of these equations" }).click();
    await typed.waitForFunction(() => document.querySelectorAll("#states tbody tr").length === 1);
    assert.equal(await setting(typed, "data").inputValue(), "samples");
    // And samples that cannot be made are told of.
    await text.fill("x' = x^2");
    await error.getByText(/^The samples could not be made: .* \(STEP_UNDERFLOW\)\.$/).waitFor();
    assert.equal(await text.getAttribute("aria-invalid"), null, "the text is not to blame");
    // With another number they can.
    await set(typed, "duration", "0.5");
    await typed.waitForFunction(() => document.querySelector("#equations-error").textContent === "");
    await typed.waitForFunction(() => new URLSearchParams(location.hash.slice(1)).get("equations") === "x' = x^2");
    await typed.context().close();
    const long = await open("#task=equations&data=samples&duration=10000");
    await long
      .locator("#equations-error")
      .getByText(/^The samples could not be made: /)
      .waitFor();
    await isRunning(long, false);
    assert.equal(await long.textContent("#toggle"), "Run", "nothing trains");
    await set(long, "duration", "20");
    await passStep(long, 0);
    assert.deepEqual(Object.keys(await estimated(long)), ["birth", "hunt", "feed", "death"]);
    await long.context().close();
    const opened = await open(`#${new URLSearchParams({ task: "equations", equations: "x' = (", initial: "x=1e99" })}`);
    await opened.locator("#equations-error").getByText("Line 1, column 7: expected a value").waitFor();
    assert.match(await noticeOf(opened, "address").textContent(), /initial: expected numbers/);
    await opened.fill("#equations-text", good);
    await passStep(opened, 0);
    await opened.context().close();
  });

  await test("samples of equations give back the parameters that they were made with", async () => {
    const hash = new URLSearchParams({
      task: "equations",
      equations: "x' = v\nv' = push * cos(t) - stiffness * x - friction * v",
      data: "samples",
      initial: "push=1,stiffness=1,friction=0.5",
      truth: "push=1.5,stiffness=2,friction=0.3",
      noise: "0.01",
    });
    const sampled = await open(`#${hash}`);
    await passStep(sampled, 0);
    await sampled.waitForFunction(() => {
      const values = [...document.querySelectorAll("#parameters .now")].map(({ textContent }) => Number(textContent));
      return [1.5, 2, 0.3].every((value, i) => Math.abs(values[i] - value) < 0.05);
    });
    await sampled.getByRole("spinbutton", { name: "push, true value, used for the samples" }).fill("");
    await sampled.getByRole("spinbutton", { name: "x, initial state" }).focus();
    assert.match(await noticeOf(sampled, "setting").textContent(), /push: expected a number/);
    await sampled.context().close();
  });

  await test("estimates of the record are those of SciPy", async () => {
    const page = await open("#task=equations");
    await passStep(page, 0);
    const found = await estimated(page);
    await isRunning(page, false);
    // SciPy 1.17: least_squares of logarithms, solved by DOP853 with tolerances of 1e-12; errors from s² (JᵀJ)⁻¹.
    const known = {
      birth: [0.540159, 0.0594887],
      hunt: [0.0271654, 0.00384305],
      feed: [0.0236946, 0.00328603],
      death: [0.796386, 0.0838563],
      "hare(0)": [34.6024, 2.92941],
      "lynx(0)": [5.84451, 0.4793],
    };
    assert.deepEqual(Object.keys(found), Object.keys(known));
    const near = (actual, wanted) => assert.ok(Math.abs(actual / wanted - 1) < 1e-4, `${actual}, expected ${wanted}`);
    for (const [name, { value, standardError, interval }] of Object.entries(found)) {
      near(value, known[name][0]);
      near(standardError, known[name][1]);
      // Student's t with 42 − 6 degrees of freedom.
      near(interval[1] - interval[0], 2 * 2.028094 * standardError);
    }
    // What is shown is rounded to the error, under heads of columns, and the end is announced.
    const table = page.getByRole("table", { name: "Estimates with errors" });
    assert.deepEqual(await table.getByRole("columnheader").allTextContents(), [
      "",
      "estimate",
      "standard error",
      "95% interval",
    ]);
    const first = await table.getByRole("row").nth(1).locator("th, td").allTextContents();
    assert.deepEqual(first, ["birth", "0.540", "0.059", "0.420 to 0.661"]);
    assert.match((await page.textContent("#estimates-outcome[aria-live=polite] p")) ?? "", /^Converged: /);
    assert.equal(await page.locator("#estimates-outcome li").count(), 0);
    assert.deepEqual(await nowOf(page), ["0.540", "0.0272", "0.0237", "0.796"]);
    // The band is of the estimates: it goes where training goes on.
    await bandsOf(page, 2);
    const banded = await settled(page, "#series canvas");
    await page.click("#step");
    await bandsOf(page, 0);
    assert.notEqual(await settled(page, "#series canvas"), banded);
    await page.click("#reset");
    await page.waitForFunction(() => document.querySelector("#estimates").dataset.state === "none");
    assert.equal(await table.getByRole("row").count(), 0);
    await page.context().close();
  });

  await test("estimates of samples have the errors of a straight line, and tell what is not known", async () => {
    const [slope, duration, noise] = [2, 20, 0.1];
    const sample = (more) =>
      open(
        `#${new URLSearchParams({ task: "equations", data: "samples", start: "x=1", noise: String(noise), ...more })}`,
      );
    const line = await sample({ equations: "x' = slope", initial: "slope=1", truth: `slope=${slope}` });
    await passStep(line, 0);
    const { value, standardError, interval } = (await estimated(line)).slope;
    assert.ok(Math.abs(value - slope) < 4 * standardError, `slope ${value} ± ${standardError}`);
    // 40 measurements, as the first point is known: Student's t with 39 degrees of freedom.
    assert.ok(Math.abs((interval[1] - interval[0]) / 2 / standardError - 2.022691) < 1e-5);
    const times = Array.from({ length: 41 }, (_, i) => (i * duration) / 40);
    const mean = duration / 2;
    const deviation = slope * Math.sqrt(times.reduce((sum, t) => sum + (t - mean) ** 2, 0) / times.length);
    const exact = (noise * deviation) / Math.sqrt(times.reduce((sum, t) => sum + t ** 2, 0));
    // The noise itself is estimated from 40 samples, to about a ninth.
    assert.ok(Math.abs(standardError / exact - 1) < 4 / 9, `error ${standardError}, of a line ${exact}`);
    await bandsOf(line, 1);
    // A text that has just been typed is the one that is estimated.
    await line.locator("#equations-text").fill("x' = slope + 0 * ghost");
    const found = await estimated(line);
    assert.deepEqual(Object.keys(found), ["slope", "ghost"]);
    assert.ok(Math.abs(found.slope.value - value) < 1e-4, `slope ${found.slope.value}`);
    assert.match((await line.textContent("#estimates-outcome li")) ?? "", /^The predictions do not depend on ghost/);
    const cells = await line.locator("#estimates-table tr").last().locator("td").allTextContents();
    assert.deepEqual(cells.slice(1), ["unknown", "unknown"]);
    // What is not known stays as it was, with its digits.
    await line.getByRole("spinbutton", { name: "ghost, initial value" }).fill("0.25");
    await estimated(line);
    assert.equal(await line.locator("#estimates-table tr").last().locator("td").first().textContent(), "0.25");
    await line.context().close();

    const perfect = await sample({
      equations: "x' = v\nv' = -stiffness * x - friction * v",
      initial: "stiffness=1.8,friction=0.2",
      truth: "stiffness=2,friction=0.3",
      noise: "0",
    });
    await passStep(perfect, 0);
    const { stiffness, friction } = await estimated(perfect);
    assert.ok(Math.abs(stiffness.value - 2) < 1e-5 && Math.abs(friction.value - 0.3) < 1e-5);
    assert.ok(stiffness.standardError < 1e-5 && friction.standardError < 1e-5);
    await perfect.context().close();
  });

  await test("what cannot be estimated is told beside the text", async () => {
    const hash = new URLSearchParams({
      task: "equations",
      equations: "x' = k * x^2",
      data: "samples",
      initial: "k=1",
      truth: "k=-0.2",
      start: "x=1",
    });
    const page = await open(`#${hash}`);
    await page.waitForFunction(() => document.body.dataset.run === "1");
    // Its solution has no distance from the data.
    await page.locator("#series-error").getByText("rms error –").waitFor();
    const error = page.locator("#equations-error");
    await pressEstimate(page);
    await error
      .getByText(/^The model cannot be solved from the starting values k = 1: .*\((?:STEP_UNDERFLOW|NON_FINITE)\)\.$/)
      .waitFor();
    const text = page.locator("#equations-text");
    assert.equal(await text.getAttribute("aria-invalid"), null, "the text is not to blame");
    assert.equal(await page.getAttribute("#estimates", "data-state"), "none");
    await page.getByRole("spinbutton", { name: "k, initial value" }).fill("-0.1");
    const { k } = await estimated(page);
    assert.ok(Math.abs(k.value + 0.2) < 4 * k.standardError, `k ${k.value} ± ${k.standardError}`);
    assert.equal(await error.textContent(), "");
    // A mistake that has just been typed, and then one that is known.
    await text.fill("x' = k * (x");
    await pressEstimate(page);
    await error.getByText(/^Line 1, column /).waitFor();
    await page.waitForFunction(() => document.querySelector("#estimates").dataset.state !== "busy");
    await pressEstimate(page);
    assert.ok(await text.evaluate((area) => area === document.activeElement));
    assert.notEqual(await page.getAttribute("#estimates", "data-state"), "busy");
    await page.context().close();
  });

  await test("the keyboard reaches and works everything", async () => {
    for (const task of ["spiral", "bounce", "equations"]) await reachesAll(task);
    const keys = await open();
    await passStep(keys, 0);
    await keys.focus("#toggle");
    await keys.keyboard.press("Space");
    await isRunning(keys, false);
    await keys.keyboard.press("Enter");
    await isRunning(keys, true);
    await keys.focus("#tasks input:checked");
    await keys.keyboard.press("ArrowRight");
    await keys.waitForFunction(() => location.hash === "#task=lynx-hare");
    await keys.focus("#settings [name=layers]");
    await keys.keyboard.press("ArrowRight");
    await keys.waitForFunction(() => location.hash.includes("layers=3"));
    await keys.context().close();
  });

  async function reachesAll(task) {
    const keys = await open(`#task=${task}`);
    await passStep(keys, 0);
    if (task === "equations") {
      await keys.fill("#equations-text", "x' = ");
      await keys.getByRole("button", { name: "Go there" }).waitFor();
      await keys.evaluate(() => /** @type {HTMLElement} */ (document.activeElement).blur());
      await keys.click("h1");
    }
    const expected = await keys.$$eval("button, select, input, textarea, summary", (controls) =>
      /** @type {HTMLInputElement[]} */ (controls)
        .filter(
          (control) => !control.disabled && control.checkVisibility() && (control.type !== "radio" || control.checked),
        )
        .map((control) => {
          control.dataset.expected = "";
          return control.outerHTML.slice(0, 60);
        }),
    );
    const reached = new Set();
    for (let i = 0; i < expected.length + 2; i++) {
      await keys.keyboard.press("Tab");
      const html = await keys.evaluate(() => {
        const focused = /** @type {HTMLInputElement} */ (document.activeElement);
        const shown = focused.type === "radio" ? focused.nextElementSibling : focused;
        const { outlineStyle } = getComputedStyle(shown ?? focused);
        return focused === document.body || outlineStyle === "none" ? undefined : focused.outerHTML.slice(0, 60);
      });
      if (html) reached.add(html);
    }
    assert.deepEqual(
      [...new Set(expected)].filter((html) => !reached.has(html)),
      [],
    );
    await keys.context().close();
  }

  await test("curves are named by colour, and what changes with each step is not announced", async () => {
    for (const { hash, names, title } of [
      { hash: "", names: ["x", "y"], title: "over time" },
      { hash: "#task=lynx-hare", names: ["hare", "lynx"], title: "thousands of pelts" },
      { hash: `#${chain(7)}`, names: ["a", "b", "c", "d", "e", "f"], title: "over time; first 6 of 7 states" },
    ]) {
      const page = await open(hash);
      await passStep(page, 0);
      assert.equal(await page.textContent("#series-name"), `${names.join("")}${title}`);
      const colours = await page.$$eval("#series-name i", (dots) =>
        dots.map((dot) => getComputedStyle(dot).backgroundColor),
      );
      assert.equal(new Set(colours).size, names.length, "each has its own colour");
      const times = page.locator(".bar .time", { hasText: "ms" });
      await times.nth(4).waitFor();
      for (const time of await times.allTextContents()) assert.notEqual(time, "0.00 ms");
      const announced = await page.$$eval("[aria-live], [role=status], [role=alert], output", (regions) =>
        regions
          .filter((region) => region.closest(".stage, .how") && !region.closest("#equations, #estimates"))
          .map(({ outerHTML }) => outerHTML),
      );
      assert.deepEqual(announced, []);
      await page.context().close();
    }
  });

  await test("both colour schemes are legible", async () => {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open("#task=equations", { colorScheme });
      await passStep(page, 0);
      await page.waitForFunction(() => document.querySelectorAll(".bar").length === 6);
      await page.fill("#equations-text", `${await page.inputValue("#equations-text")} + 0 * ghost`);
      await estimated(page);
      await page.locator("#estimates-outcome li").waitFor();
      await page.fill("#equations-text", "hare' = * 2");
      await page.getByRole("button", { name: "Go there" }).waitFor();
      const ratios = await page.evaluate(contrasts);
      for (const [text, ratio, least] of ratios)
        assert.ok(ratio >= least, `${colorScheme}: ${text} ${ratio.toFixed(2)}, expected at least ${least}`);
      const other = colorScheme === "light" ? "dark" : "light";
      await page.click("#toggle");
      const before = await imageOf(page, "#loss canvas");
      await page.emulateMedia({ colorScheme: other });
      await page.waitForFunction((before) => document.querySelector("#loss canvas").toDataURL() !== before, before);
      await page.context().close();
    }
  });
}

/**
 * In the page: the contrast of each text that is shown, and of the border of each control, with what is behind it, and what
 * WCAG 2.2 expects; but for idle settings.
 *
 * @returns {[text: string, ratio: number, least: number][]}
 */
function contrasts() {
  const canvas = document.createElement("canvas");
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  const channels = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) =>
    channels(colour)
      .slice(0, 3)
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      if (channels(backgroundColor)[3] === 255) return backgroundColor;
    }
    return "white";
  };
  const ratioOf = (one, other) => {
    const [ours, theirs] = [luminance(one), luminance(other)];
    return (Math.max(ours, theirs) + 0.05) / (Math.min(ours, theirs) + 0.05);
  };
  /** @type {[text: string, ratio: number, least: number][]} */
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes]
      .filter(({ nodeType }) => nodeType === 3)
      .map(({ textContent }) => (textContent ?? "").trim())
      .join("");
    if (text === "" || !element.checkVisibility() || element.closest(".idle, .hidden, canvas, option, script, .uplot"))
      continue;
    found.push([text.slice(0, 40), ratioOf(getComputedStyle(element).color, behind(element)), 4.5]);
  }
  for (const control of document.querySelectorAll("select, textarea, input[type=number]")) {
    if (!control.checkVisibility() || control.closest(".idle")) continue;
    const edge = getComputedStyle(control).borderTopColor;
    found.push([`border of ${control.outerHTML.slice(0, 40)}`, ratioOf(edge, behind(control.parentElement)), 3]);
  }
  return found;
}
