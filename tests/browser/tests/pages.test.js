// @ts-check
// The pages behind the wall: a service with its graphs, an incident as a story, actions and the freeze.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { assertFits, MOCK_ONLY, onWall, open, picture, serve, THEMES, tile, WIDTHS } from "./harness.js";
import { exhibition } from "../mock/world.js";

const ID = "DCA_Luggage_Scanner";

for (const theme of THEMES) {
  for (const [width, height] of WIDTHS) {
    test(`service, incident and actions are sound at ${width} px, ${theme}`, MOCK_ONLY, async (t) => {
      const mock = await serve(t, exhibition(60));
      const page = await open(t, `${mock.url}#/s/${ID}`, { viewport: { width, height }, colorScheme: theme });
      await page.locator(".u-wrap canvas").first().waitFor();
      await page.getByText("As written").waitFor();
      await page.waitForTimeout(1500); // some of the live edge, for the picture
      await assertFits(page);
      await picture(page, `service-${width}-${theme}`);
      await page.goto(`${mock.url}#/i/${ID}.2`);
      await page.locator(".timeline li").first().waitFor();
      await assertFits(page);
      await picture(page, `incident-${width}-${theme}`);
      await page.goto(`${mock.url}#/actions`);
      await page.locator("table").waitFor();
      await assertFits(page);
      await picture(page, `actions-${width}-${theme}`);
    });
  }
}

test("from the red tile to the evidence in two clicks", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, mock.url);
  await onWall(page);
  await tile(page, ID).click();
  await page.getByRole("link", { name: `${ID}.2` }).first().click();
  await page.getByText("31 of 291 readings of the window (10.7 %) were above 30; more than 14 is a breach.").waitFor();
});

test("readings and verdicts reach the graph as they come, and the numbers above follow", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  /** @type {string[]} */
  const asked = [];
  const page = await open(t, "about:blank");
  page.on("request", (request) => asked.push(request.url()));
  const pixels = () => page.evaluate(() => {
    const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector(".u-wrap canvas"));
    return canvas.toDataURL();
  });
  await page.goto(`${mock.url}#/s/${ID}`);
  await page.locator(".u-wrap canvas").first().waitFor();
  await page.waitForTimeout(500);
  const before = await pixels();
  await page.waitForFunction((old) => /** @type {HTMLCanvasElement} */ (document.querySelector(".u-wrap canvas")).toDataURL() !== old, before);
  assert.ok(asked.some((url) => url.includes("/live?sensor=queue_time_seconds")));
  mock.world.resolve(ID);
  await page.locator('.badge[data-look="healthy"]').waitFor();
  await page.getByText(/up to \d+ is good/).waitFor();
  await page.locator("tr", { hasText: `${ID}.2` }).getByText("resolved").waitFor();
});

test("the stretch of time is chosen by button, drag and address", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/s/${ID}`);
  const over = page.locator(".u-over").first();
  await over.waitFor();
  await page.getByRole("button", { name: "The last 1 h", exact: true }).click();
  assert.match(page.url(), /span=3600$/);
  const box = await over.boundingBox();
  assert.ok(box);
  await page.mouse.move(box.x + 0.2 * box.width, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.5 * box.width, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await page.waitForURL(/from=\d+&to=\d+$/);
  const [, from, to] = page.url().match(/from=(\d+)&to=(\d+)/)?.map(Number) ?? [];
  assert.ok(Math.abs(to - from - 0.3 * 3_600_000) < 60_000, `${(to - from) / 1000} s`);
  assert.equal(await page.getByRole("button", { name: "Live" }).getAttribute("aria-pressed"), "false");
  await page.getByRole("button", { name: "Earlier" }).click();
  await page.waitForURL((url) => !url.href.includes(`to=${to}`));
  await page.getByRole("button", { name: "Live" }).click();
  await page.waitForURL(/span=\d+$/);
});

test("an incident grows while one reads it, and what was opened stays open", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/i/${ID}.2`);
  const items = page.locator(".timeline li");
  await items.first().waitFor();
  const before = await items.count();
  await page.locator("summary").first().click();
  const action = mock.world.request(ID, "scale_up", { compute: "+1" }, { step: 3, basis: "fresh_data" });
  mock.world.act(ID, action, { event: "suppressed", reason: "at_max", detail: { why: "8 is the most" } });
  await page.getByText("Scale up: held back: at max").waitFor();
  assert.equal(await items.count(), before + 2);
  assert.equal(await page.locator("details[open]").count(), 1);
  mock.world.resolve(ID);
  await page.locator(".badge", { hasText: "resolved" }).waitFor();
});

test("a story is saved as JSON and as Markdown", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/i/${ID}.2`);
  const save = async (/** @type {string} */ name) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
  };
  const json = await save("Save as JSON");
  assert.equal(json.name, `${ID}.2.json`);
  assert.deepEqual(JSON.parse(json.text).events, mock.world.get(ID).events.get(`${ID}.2`));
  const markdown = await save("Save as Markdown");
  assert.match(markdown.text, /^# Incident DCA\\_Luggage\\_Scanner\.2/);
  assert.match(markdown.text, /did not help/);
});

test("freezing asks for a reason and a confirmation, and a refusal changes nothing", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/actions`, { isRefusalExpected: true });
  await page.getByRole("button", { name: "Freeze all actions" }).click();
  const confirm = page.locator("#confirm");
  assert.equal(await confirm.isDisabled(), true);
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(mock.world.frozen, null);
  await page.route("**/api/v1/freeze", (route) => route.fulfill({ status: 403, contentType: "application/problem+json", body: '{"title":"no","detail":"you may not"}' }));
  await page.getByRole("button", { name: "Freeze all actions" }).click();
  await page.locator("#reason").fill("a deploy");
  await picture(page, "freeze");
  await confirm.click();
  await page.getByText("Nothing was changed: you may not").waitFor();
  assert.equal(mock.world.frozen, null);
  await page.unroute("**/api/v1/freeze");
  await confirm.click();
  await page.getByText("Actions frozen: a deploy, by operator").waitFor();
  assert.equal(mock.world.status(mock.world.get(ID)).frozen?.reason, "a deploy");
  await picture(page, "frozen");
  await page.getByRole("button", { name: "Thaw" }).click();
  await page.locator("#reason").fill("done");
  await page.locator("#confirm").click();
  await page.locator(".head .hold").waitFor({ state: "detached" });
  assert.equal(mock.world.frozen, null);
});

test("the actions of one service are frozen on its page", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/s/${ID}`);
  await page.getByRole("button", { name: "Freeze its actions" }).click();
  await page.locator("#reason").fill("by hand now");
  await page.locator("#confirm").click();
  await page.getByText("Its actions are frozen").waitFor();
  assert.equal(mock.world.get(ID).frozen?.reason, "by hand now");
  assert.equal(mock.world.frozen, null);
});
