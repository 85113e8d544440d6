// @ts-check
// The pages behind the wall: a service with its graphs, an incident as a story, actions and the freeze.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { assertFits, assertSound, MOCK_ONLY, onWall, open, picture, serve, THEMES, tile, WIDTHS } from "./harness.js";
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
  await page.locator(".timeline summary").first().click();
  const action = mock.world.request(ID, "scale_up", { compute: "+1" }, { step: 3, basis: "fresh_data" });
  mock.world.act(ID, action, { event: "suppressed", reason: "at_max", detail: { why: "8 is the most" } });
  await page.getByText("Scale up: held back: at max").waitFor();
  assert.equal(await items.count(), before + 2);
  assert.equal(await page.locator(".timeline details[open]").count(), 1);
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

test("an incident is computed again on a button: under way, confirmed, or where it differs", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/i/${ID}.2`, { bypassCSP: true });
  mock.world.explainMs = 1500;
  await page.locator("#explain").click();
  await page.locator(".explain progress").waitFor();
  assert.equal(await page.locator("#explain").innerText(), "Stop");
  // A story that grows meanwhile takes nothing away.
  mock.world.act(ID, mock.world.get(ID).deeds[0].action_id, { event: "verified", before: 41, before_n: 70, before_over: 30, after: 20, after_n: 70, after_over: 1 });
  await page.getByText("Confirmed: computed again from the log").waitFor();
  await page.locator(".explained").getByText("31 of 291 over 30; the rank is 277, so 14 are allowed: breached").waitFor();
  await assertFits(page);
  await assertSound(page, "what is explained");
  await page.locator(".explain").scrollIntoViewIfNeeded();
  await picture(page, "explained");
  mock.world.isConfirmed = false;
  mock.world.explainMs = 0;
  await page.locator("#explain").click();
  await page.getByText("It differs: computed again from the log, it is not what was published.").waitFor();
  assert.equal(await page.locator(".explained dt").last().innerText(), "differs");
  await page.getByText("opened n 291 over 29").waitFor();
  assert.equal(await page.getByText("Confirmed:").count(), 0);
  await picture(page, "differs");
});

test("what cannot be computed again says why, and a wait can be stopped", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/i/${ID}.2`, { isRefusalExpected: true });
  await page.route("**/explain", (route) => route.fulfill({ status: 409, contentType: "application/problem+json", body: '{"type":"urn:hms-ops:problem:gone","title":"no","detail":"the log no longer holds the readings of that window"}' }));
  await page.locator("#explain").click();
  await page.getByText("It cannot be computed again now: the log no longer holds the readings of that window").waitFor();
  await page.unroute("**/explain");
  mock.world.explainMs = 30_000;
  await page.locator("#explain").click();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Stopped.").waitFor();
  assert.equal(await page.locator("#explain").innerText(), "Explain");
});

test("what the vault keeps of an incident stands on its page, and nothing where there is no vault", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/i/${ID}.2`, { isRefusalExpected: true });
  await page.getByText("Kept by dca.hms-dta").waitFor();
  const { partition, offset } = mock.world.get(ID).events.get(`${ID}.2`)?.[0] ?? {};
  await page.getByText(`ops dta show ops.incidents/${partition}/${offset}`).waitFor();
  mock.world.damage = ["segment 7 is cut"];
  await page.reload();
  await page.getByText("Something may be missing, for not all of it could be read: segment 7 is cut").waitFor();
  mock.world.hasVault = false;
  await page.reload();
  await page.locator(".timeline").waitFor();
  await page.locator("#explain").waitFor();
  assert.equal(await page.getByText("In the vault").isVisible(), false);
  await page.route("**/vault", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"title":"no","detail":"the directory cannot be read"}' }));
  await page.reload();
  await page.getByText("What the vault keeps cannot be shown: the directory cannot be read").waitFor();
});

test("whether an action helped is shown by the counts that decide it; the p95 beside them is marked as an estimate", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/i/${ID}.2`);
  const effect = page.locator(".effect");
  await effect.getByText("31 of 74 over (41.9 %), p95 ~41.2").waitFor();
  await effect.getByText("12 of 75 over (16.0 %), p95 ~36.4").waitFor();
  // The counts were good enough and the estimate is above the limit: the verdict stands.
  mock.world.act(ID, mock.world.get(ID).deeds[0].action_id, { event: "verified", before: 41.2, before_n: 74, before_over: 31, after: 30.2, after_n: 40, after_over: 2 });
  const good = effect.nth(1);
  await good.getByText("2 of 40 over (5.0 %), p95 ~30.2").waitFor();
  assert.deepEqual(await good.locator(".bar-fill").evaluateAll((bars) => bars.map((bar) => [bar.className, bar.style.width])), [["bar-fill was", "41.9%"], ["bar-fill cool", "5%"]]);
  assert.match(await tile(await open(t, mock.url), ID).locator(".value").innerText(), /^~/);
});

test("a freeze of one service is told on its incidents too", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/i/${ID}.2`);
  await page.locator(".timeline").waitFor();
  mock.world.hand(ID, "by hand now", true);
  await page.getByText(/The actions of DCA_Luggage_Scanner are frozen since .* by operator: by hand now/).waitFor();
  mock.world.hand(ID, "done", false);
  await page.getByText("are frozen since").waitFor({ state: "detached" });
});
