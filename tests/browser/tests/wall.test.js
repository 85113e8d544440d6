// @ts-check
// The wall: what it says, in every width and both themes, and that it says it without a reload.
import { test } from "node:test";
import assert from "node:assert/strict";
import { assertFits, MOCK_ONLY, onWall, open, picture, REAL, serve, THEMES, tile, WIDTHS } from "./harness.js";
import { exhibition, World } from "../mock/world.js";

for (const theme of THEMES) {
  for (const [width, height] of WIDTHS) {
    test(`the wall is sound at ${width} px, ${theme}`, async (t) => {
      const url = REAL ?? (await serve(t, exhibition(60))).url;
      const page = await open(t, url, { viewport: { width, height }, colorScheme: theme });
      await onWall(page);
      await page.waitForTimeout(900); // the past of the sparklines, for the picture
      await assertFits(page);
      await picture(page, `wall-${width}-${theme}`);
      const overlaps = await page.evaluate(() => {
        const boxes = [...document.querySelectorAll(".tile, .section")].map((element) => element.getBoundingClientRect());
        const meet = (/** @type {DOMRect} */ a, /** @type {DOMRect} */ b) =>
          a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
        return boxes.filter((a, i) => boxes.some((b, j) => i < j && meet(a, b))).length;
      });
      assert.equal(overlaps, 0);
    });
  }
}

test("every look has a word, a shape and a colour of its own", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, mock.url, { viewport: { width: 1280, height: 1600 } });
  await onWall(page);
  const looks = await page.evaluate(() => [...document.querySelectorAll(".tile")].map((element) => ({
    look: element.getAttribute("data-look"), word: element.querySelector(".word")?.textContent,
    shape: element.querySelector("path")?.getAttribute("d"),
  })));
  const known = new Map(looks.map((look) => [look.look, look]));
  assert.ok(known.size >= 9, `only ${[...known.keys()]}`);
  assert.equal(new Set([...known.values()].map((look) => look.word)).size, known.size);
  assert.equal(new Set([...known.values()].map((look) => look.shape)).size, known.size);
});

test("a breach turns the tile red and moves it to the front without a reload", MOCK_ONLY, async (t) => {
  const mock = await serve(t);
  const page = await open(t, mock.url);
  await onWall(page);
  const id = [...mock.world.services.keys()][7];
  assert.equal(await tile(page, id).getAttribute("data-look"), "healthy");
  await page.evaluate(() => Object.assign(window, { isSamePage: true }));
  mock.world.breach(id);
  await page.waitForSelector(`a.tile[data-look="breached"]`, { timeout: 4000 });
  assert.equal(await page.evaluate(() => document.querySelector(".tile")?.getAttribute("href")), `#/s/${id}`);
  assert.match(await page.locator(".count").first().innerText(), /1\s*breached/);
  assert.match(await page.title(), /1 breached/);
  // The counts of the last cut are still good; those of the verdict are shown.
  const { threshold } = mock.world.get(id);
  const now = mock.world.now();
  mock.emit("statuses", { now, statuses: [{ ...mock.world.status(mock.world.get(id)), p95_estimate: threshold / 2, as_of: now - 9000, age_ms: 61_000 }] });
  await tile(page, id).getByText("1 min ago").waitFor();
  assert.ok(Number((await tile(page, id).locator(".value").innerText()).replace("~", "")) > threshold);
  assert.equal(await page.evaluate(() => "isSamePage" in window), true);
  mock.world.turn(id, "recovering");
  await page.waitForSelector(`a.tile[data-look="recovering"]`);
  mock.world.resolve(id);
  await page.waitForFunction(() => !document.querySelector('.tile:not([data-look="healthy"])'));
});

test("what is being done stands on the tile", MOCK_ONLY, async (t) => {
  const mock = await serve(t);
  const page = await open(t, mock.url);
  await onWall(page);
  const [id] = mock.world.services.keys();
  mock.world.breach(id);
  const action = mock.world.request(id, "scale_up", { compute: "+2" }, { step: 1, basis: "opened" });
  mock.world.act(id, action, { event: "started" });
  await page.getByText("scale up: under way").waitFor();
  mock.world.act(id, action, { event: "verified" });
  await page.getByText("scale up: it helped").waitFor();
});

test("search, state and group stand in the address and come from it", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, mock.url);
  await onWall(page);
  await page.locator("#search").fill("luggage");
  await page.waitForFunction(() => document.querySelectorAll(".tile").length === 1);
  assert.match(page.url(), /#\/\?q=luggage$/);
  await page.locator("#search").fill("nothing of that name");
  await page.getByText("None of 61 services matches").waitFor();
  await page.getByRole("button", { name: "Show all" }).click();
  await page.locator('.count[data-look="no_data"]').click();
  await page.waitForFunction(() => [...document.querySelectorAll(".tile")].every((element) => element.getAttribute("data-look") === "no_data"));
  const page2 = await open(t, `${mock.url}#/?group=owner&state=breached`);
  await page2.waitForSelector(".tile");
  assert.ok((await page2.locator(".section").allInnerTexts()).some((text) => text.startsWith("TSA")));
  assert.equal(await page2.locator('.tile:not([data-look="breached"])').count(), 0);
});

test("a service that comes is shown, one that goes is not", MOCK_ONLY, async (t) => {
  const mock = await serve(t, new World());
  const page = await open(t, mock.url);
  await page.getByText("No service is registered yet").waitFor();
  mock.world.add("new_one", "me");
  mock.world.tell("new_one");
  await tile(page, "new_one").waitFor();
  mock.world.services.delete("new_one");
  mock.emit("gone", { services: ["new_one"] });
  await page.getByText("No service is registered yet").waitFor();
});

test("kiosk shows nothing but the state, and Escape leaves it", async (t) => {
  const url = REAL ?? (await serve(t, exhibition(60))).url;
  const page = await open(t, `${url}#kiosk`, { viewport: { width: 3840, height: 2160 } });
  await onWall(page);
  assert.equal(await page.locator("#search").isVisible(), false);
  await page.waitForTimeout(900); // the past of the sparklines, for the picture
  await assertFits(page);
  await picture(page, "kiosk");
  await page.keyboard.press("Escape");
  await page.locator("#search").waitFor();
});
