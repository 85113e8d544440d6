// @ts-check
// The promises of the page against the real server: Kafka, processor and war room are processes, the browser is a browser.
// Times are measured and printed, and kept in artifacts/measured.json; only their generous bounds are asserted.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { onWall, open, picture, tile } from "../tests/harness.js";
import { spread, Stack } from "./stack.js";

/** No reading takes longer to the graph, ms: the promise. */
const ALWAYS_MS = 10_000;
const WINDOW_S = 10;

/** @param {string} id */
const spec = (id) => `id: ${id}
owner: browser
sensors:
  - {name: queue_time_seconds, unit: seconds, interval: 0.2}
slo: {target: queue_time_seconds, threshold: 30, window_seconds: ${WINDOW_S}, step: 1, lateness: 0.5, min_samples: 10}
`;

const stack = new Stack();
/** @type {Record<string, unknown>} */
const measured = {};
before(async () => {
  await stack.start();
  stack.spawn(["process"]);
  for (const id of ["Graph", "Wall", "Cut"]) stack.register(spec(id));
}, { timeout: 120_000 });
after(async () => {
  await stack.stop();
  const file = fileURLToPath(new URL("../artifacts/measured.json", import.meta.url));
  writeFileSync(file, `${JSON.stringify(measured, null, 2)}\n`);
});

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Waits until the graph of a page shows a value as its newest reading, frame by frame.
 * @param {import("playwright-core").Page} page
 * @param {number} value
 */
const shows = (page, value) =>
  page.waitForFunction((text) => document.querySelector(".latest")?.textContent?.endsWith(text), ` latest ${value}`, { polling: "raf", timeout: 60_000 });

/** How many readings the first graph says it shows. @param {import("playwright-core").Page} page */
const readings = async (page) => Number((await page.locator(".latest").first().innerText()).split("reading")[0].replace(/\D/g, ""));

test("the wall is there", { timeout: 60_000 }, async (t) => {
  const page = await open(t, "about:blank");
  const began = performance.now();
  await page.goto(stack.url);
  await page.waitForSelector(".tile");
  measured.first_wall_ms = Math.round(performance.now() - began);
  measured.first_paint_ms = await page.evaluate(() => Math.round(performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN));
  t.diagnostic(`first wall, ms: ${measured.first_wall_ms}; first paint: ${measured.first_paint_ms}`);
});

test("a reading that is emitted shows in the graph", { timeout: 300_000 }, async (t) => {
  const page = await open(t, `${stack.url}#/s/Graph`);
  const sender = stack.sender("Graph");
  sender.send("queue_time_seconds", 1);
  await shows(page, 1);
  /** @type {number[]} */
  const took = [];
  for (let i = 0; i < 100; i++) {
    const began = performance.now();
    sender.send("queue_time_seconds", 100 + i);
    await shows(page, 100 + i);
    took.push(Math.round(performance.now() - began));
  }
  await picture(page, "real-graph");
  await sender.end();
  measured.emit_to_graph_ms = spread(took);
  t.diagnostic(`emitted until it shows, ms: ${JSON.stringify(measured.emit_to_graph_ms)}`);
  assert.equal(took.length, 100);
  assert.ok(Math.max(...took) < ALWAYS_MS, "a reading took longer than was promised");
});

test("a breach turns the tile red without a reload", { timeout: 180_000 }, async (t) => {
  const page = await open(t, stack.url);
  await onWall(page);
  const sender = stack.sender("Wall");
  /** When the first bad reading was emitted, and when red was seen; by this machine's one clock. */
  let bad = 0;
  const emitting = setInterval(() => sender.send("queue_time_seconds", bad ? 90 : 10), 100);
  t.after(() => clearInterval(emitting));
  await tile(page, "Wall").and(page.locator('[data-look="healthy"]')).waitFor({ timeout: 60_000 });
  await picture(page, "real-healthy");
  bad = Date.now();
  const seen = await page.waitForFunction(() => document.querySelector('a.tile[href="#/s/Wall"][data-look="breached"]') && Date.now(), null, { polling: "raf", timeout: 60_000 });
  const red = Number(await seen.jsonValue());
  await picture(page, "real-breached");
  clearInterval(emitting);
  await sender.end();
  const { incidents } = await stack.get("incidents?service=Wall");
  const [{ opened_at: instant }] = incidents;
  measured.breach = { from_instant_to_red_ms: red - instant, from_first_bad_reading_to_red_ms: red - bad };
  t.diagnostic(`a breach, ms: ${JSON.stringify(measured.breach)}`);
  assert.ok(instant > bad && red > instant);
});

test("a killed server: banner, then all that happened meanwhile, in wall and graph, without a reload", { timeout: 240_000 }, async (t) => {
  const wall = await open(t, stack.url, { isRefusalExpected: true });
  await onWall(wall);
  const graph = await open(t, `${stack.url}#/s/Cut`, { isRefusalExpected: true });
  const sender = stack.sender("Cut");
  let sent = 0;
  const send = () => sender.send("queue_time_seconds", (sent += 1) + 100);
  for (; sent < 20; await pause(50)) send();
  await shows(graph, 120);
  const before = await readings(graph);
  await stack.killRoom();
  for (const page of [wall, graph]) await page.locator("#banner").waitFor({ timeout: 30_000 });
  await picture(wall, "real-gone");
  // Nobody is there to be told of these, nor of the incident that they are. The window is as long as the spec says.
  for (const end = Date.now() + 1000 * (WINDOW_S + 3); Date.now() < end; await pause(100)) send();
  const back = Date.now();
  await stack.startRoom();
  for (const page of [wall, graph]) await page.locator("#banner").waitFor({ state: "hidden", timeout: 60_000 });
  measured.back_after_restart_ms = Date.now() - back;
  await wall.locator('a.tile[href="#/s/Cut"][data-look="breached"]').waitFor({ timeout: 30_000 });
  await shows(graph, 100 + sent);
  assert.equal(await readings(graph), before + sent - 20, "every reading of the time without a server");
  await picture(graph, "real-back");
  await sender.end();
  t.diagnostic(`from the start of the new server until no banner is left, ms: ${measured.back_after_restart_ms}`);
});
