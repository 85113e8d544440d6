// @ts-check
// What every test of the page needs: a browser, a server of the contract, and a page that reports what went wrong in
// it. With OPS_WARROOM_URL the tests that need no say over the fleet run against that server instead of the mock.
import { after, before } from "node:test";
import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Mock } from "../mock/server.js";
import { World } from "../mock/world.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Browser} Browser */

/** The server to test, if it is not the mock. */
export const REAL = process.env.OPS_WARROOM_URL?.replace(/\/?$/, "/") ?? null;
/** For tests that tell the fleet what to do. */
export const MOCK_ONLY = { skip: REAL ? "tells the simulated fleet what to do" : false };

export const WIDTHS = /** @type {[number, number][]} */ ([[390, 844], [1280, 800], [3840, 2160]]);
export const THEMES = /** @type {("dark" | "light")[]} */ (["dark", "light"]);

const ARTIFACTS = fileURLToPath(new URL("../artifacts/", import.meta.url));
const BROWSERS = [process.env.CHROMIUM ?? "", "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** @type {Browser} */
let browser;
before(async () => {
  const executablePath = BROWSERS.find((path) => path && existsSync(path));
  assert.ok(executablePath, "no Chromium: apt-get install chromium, or name one by CHROMIUM");
  mkdirSync(ARTIFACTS, { recursive: true });
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
});
after(() => browser?.close());

export const theBrowser = () => browser;

/** What a test leaves behind. @type {WeakMap<import("node:test").TestContext, (() => Promise<unknown>)[]>} */
const left = new WeakMap();

/**
 * Clears up after a test, the last first: a page is closed before its server ends.
 * @param {import("node:test").TestContext} t
 * @param {() => Promise<unknown>} clear
 */
function atEnd(t, clear) {
  const known = left.get(t);
  if (known) {
    known.unshift(clear);
    return;
  }
  left.set(t, [clear]);
  t.after(async () => {
    /** @type {unknown[]} */
    const errors = [];
    for (const one of left.get(t) ?? []) await one().catch((error) => errors.push(error));
    if (errors.length) throw errors[0];
  });
}

/**
 * A mock for one test, over a fleet; ended with it.
 * @param {import("node:test").TestContext} t
 * @param {World} [world]
 */
export async function serve(t, world = World.of(12)) {
  const mock = await new Mock(world).start();
  atEnd(t, () => mock.stop());
  return mock;
}

/**
 * A page of its own. What is wrong in it (an error, a violation of the content security policy) fails the test.
 * @param {import("node:test").TestContext} t
 * @param {string} url
 * @param {import("playwright-core").BrowserContextOptions & { isRefusalExpected?: boolean }} [options]
 * @returns {Promise<Page>}
 */
export async function open(t, url, { isRefusalExpected = false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "dark", ...options });
  const page = await context.newPage();
  /** @type {string[]} */
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(String(error.stack)));
  page.on("console", (message) => {
    const isRefusal = /Failed to load resource|ERR_(CONNECTION|INCOMPLETE|EMPTY)/.test(message.text());
    if (message.type() === "error" && !(isRefusalExpected && isRefusal)) wrong.push(message.text());
  });
  await page.goto(url);
  atEnd(t, async () => {
    await context.close();
    assert.deepEqual(wrong, [], "errors in the page");
  });
  return page;
}

/** @param {Page} page */
export const onWall = (page) => page.waitForSelector(".tile, .page .empty:not([hidden])");

/** @param {Page} page @param {string} name */
export async function picture(page, name) {
  await page.screenshot({ path: `${ARTIFACTS}${name}.png` });
}

/** Nothing sticks out of the window sideways. @param {Page} page */
export async function assertFits(page) {
  const [inner, wide] = await page.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
  assert.ok(wide <= inner, `the page is ${wide} px wide in a window of ${inner}`);
}

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/**
 * axe finds nothing serious. It is put into the page from outside, so the page must be opened with `bypassCSP`.
 * @param {Page} page
 * @param {string} where
 */
export async function assertSound(page, where) {
  if (!(await page.evaluate(() => "axe" in window))) await page.addScriptTag({ path: AXE });
  await page.waitForTimeout(600); // colours that fade in
  const found = await page.evaluate(async () => {
    const { violations } = await /** @type {any} */ (window).axe.run();
    return violations.map((/** @type {any} */ one) => `${one.impact} ${one.id}: ${one.nodes.slice(0, 3).map((/** @type {any} */ node) => `${node.target} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
  });
  assert.deepEqual(found.filter((/** @type {string} */ one) => /^(serious|critical)/.test(one)), [], `on ${where}`);
}

/** @param {Page} page @param {string} id */
export const tile = (page, id) => page.locator(`a.tile[href="#/s/${encodeURIComponent(id)}"]`);
