// @ts-check
// Never a frozen green: what the page shows when the server or the line is gone, and that it comes back by itself.
import { test } from "node:test";
import assert from "node:assert/strict";
import { MOCK_ONLY, onWall, open, picture, serve, tile } from "./harness.js";

test("a killed server: banner, grey tiles with their time; a new one: caught up, without a reload", MOCK_ONLY, async (t) => {
  const mock = await serve(t);
  const page = await open(t, mock.url, { isRefusalExpected: true });
  await onWall(page);
  await mock.stop();
  const banner = page.locator("#banner");
  await banner.waitFor({ timeout: 15_000 });
  assert.match(await banner.innerText(), /connection to the server is gone.*as of \d\d:\d\d:\d\d/s);
  await page.waitForFunction(() => [...document.querySelectorAll(".tile .age")].every((age) => age.textContent?.startsWith("as of ")));
  assert.match(await page.evaluate(() => getComputedStyle(/** @type {Element} */ (document.querySelector(".grid"))).filter), /grayscale/);
  await picture(page, "gone");
  // What happened while nobody was there.
  const [id] = mock.world.services.keys();
  mock.world.breach(id);
  await mock.start();
  await page.waitForFunction(() => document.querySelector('.tile[data-look="breached"]'), null, { timeout: 20_000 });
  await banner.waitFor({ state: "hidden" });
  assert.match(await tile(page, id).locator(".age").innerText(), /ago$/);
});

test("a line that breaks for a moment is taken up where it was, without a banner and without a gap", MOCK_ONLY, async (t) => {
  const mock = await serve(t);
  const page = await open(t, mock.url, { isRefusalExpected: true });
  await onWall(page);
  const [id] = mock.world.services.keys();
  mock.hangUp();
  mock.world.breach(id);
  await page.waitForSelector('.tile[data-look="breached"]', { timeout: 15_000 });
  assert.deepEqual(mock.begun, ["reset", "resume"]);
});

test("a server that falls silent without hanging up is found out within seconds", MOCK_ONLY, async (t) => {
  const mock = await serve(t);
  const page = await open(t, mock.url, { isRefusalExpected: true });
  await onWall(page);
  mock.isBeating = false;
  await page.locator("#banner").waitFor({ timeout: 25_000 });
  mock.isBeating = true;
  // A dead line says nothing by itself: the page opens another one.
  await page.locator("#banner").waitFor({ state: "hidden", timeout: 25_000 });
});

test("a server that is there and refuses is not called gone", MOCK_ONLY, async (t) => {
  const mock = await serve(t);
  const page = await open(t, "about:blank", { isRefusalExpected: true });
  const problem = { status: 401, contentType: "application/problem+json", body: '{"title":"no","detail":"no token is shown"}' };
  await page.route("**/api/v1/**", (route) => route.fulfill(problem));
  await page.goto(mock.url);
  await page.getByText("The server answers, and refuses: no token is shown.").waitFor();
  await page.unroute("**/api/v1/**");
  await onWall(page);
  await page.locator("#banner").waitFor({ state: "hidden" });
});

test("a frozen fleet says so on every page", MOCK_ONLY, async (t) => {
  const mock = await serve(t);
  const page = await open(t, mock.url);
  await onWall(page);
  mock.world.hand(null, "migration until 18:00", true);
  await page.getByText("Actions frozen: migration until 18:00, by operator").waitFor();
  const [id] = mock.world.services.keys();
  await page.goto(`${mock.url}#/s/${id}`);
  await page.locator(".head .hold").waitFor();
  // Who comes later is told too.
  const later = await open(t, mock.url);
  await later.locator(".head .hold").waitFor();
  mock.world.hand(null, "done", false);
  await page.locator(".head .hold").waitFor({ state: "detached" });
});
