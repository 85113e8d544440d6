// @ts-check
// Text of strangers, people without a mouse, people who cannot see the screen.
import { test } from "node:test";
import assert from "node:assert/strict";
import { assertFits, assertSound, MOCK_ONLY, onWall, open, picture, REAL, serve, THEMES } from "./harness.js";
import { exhibition, story, World } from "../mock/world.js";

const HOSTILE = ["<script>window.pwned=1</script>", "<img src=x onerror=window.pwned=1>", "abc\u202egnp.exe", "\u0000\u001b[31mred", "../../etc", "x".repeat(10_000), "a\u0301".repeat(300), "javascript:window.pwned=1//"];

test("hostile names are shown as harmless text on every page", MOCK_ONLY, async (t) => {
  const world = new World();
  for (const name of HOSTILE) story(world, world.add(name, name).id);
  const mock = await serve(t, world);
  const page = await open(t, mock.url);
  await onWall(page);
  assert.equal(await page.locator(".tile").count(), HOSTILE.length);
  const names = await page.locator(".tile .name").allInnerTexts();
  assert.ok(names.includes("<script>window.pwned=1</script>"));
  assert.ok(names.includes("abc‹U+202E›gnp.exe"));
  assert.ok(names.every((name) => name.length <= 400));
  await assertFits(page);
  await picture(page, "hostile");
  for (const name of HOSTILE) {
    await page.goto(`${mock.url}#/s/${encodeURIComponent(name)}`);
    await page.locator(".badge").waitFor();
    await assertFits(page);
    await page.goto(`${mock.url}#/i/${encodeURIComponent(`${name}.2`)}`);
    await page.locator(".timeline").waitFor();
    await assertFits(page);
  }
  await page.goto(`${mock.url}#/actions`);
  await page.locator("table").waitFor();
  await assertFits(page);
  assert.equal(await page.evaluate(() => "pwned" in window), false);
  assert.equal(await page.evaluate(() => document.body.innerText.includes("\u202e")), false);
});

test("an address that is made up leads to an answer, never to another path of the server", async (t) => {
  const url = REAL ?? (await serve(t)).url;
  /** @type {string[]} */
  const asked = [];
  const page = await open(t, "about:blank", { isRefusalExpected: true });
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  for (const [hash, text] of [["#/s/..", "no service"], ["#/s/nobody", "no service"], ["#/i/..%2F..%2Ffreeze", "no incident"], ["#/s/%E0%A4%A", "no such page"], ["#/elsewhere", "no such page"]]) {
    await page.goto("about:blank");
    await page.goto(url + hash);
    await page.getByText(new RegExp(text)).waitFor();
  }
  const strange = asked.filter((path) => !/^\/(|blank|icon\.svg|(js|css|vendor)\/.*|api\/v1\/(stream|me|approvals|actions|incidents.*|services\/nobody|incidents\/\.\.%2F\.\.%2Ffreeze))$/.test(path));
  assert.deepEqual(strange, []);
});

test("the page allows no inline script, no inline style and no stranger's content", async (t) => {
  const url = REAL ?? (await serve(t)).url;
  const answer = await fetch(url);
  const policy = answer.headers.get("content-security-policy") ?? "";
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'none'", "frame-ancestors 'none'"]) {
    assert.ok(policy.includes(part), `${part} is missing in ${policy}`);
  }
  assert.doesNotMatch(policy, /unsafe|\*/);
  const html = await answer.text();
  assert.doesNotMatch(html, / style=| on\w+=|<script>|<style/);
});

for (const theme of THEMES) {
  test(`axe finds no serious violation, ${theme}`, async (t) => {
    const mock = REAL ? null : await serve(t, exhibition(60));
    const url = REAL ?? mock?.url ?? "";
    const hashes = mock ? ["#/", "#/?group=owner", "#/s/DCA_Luggage_Scanner", "#/i/DCA_Luggage_Scanner.2", "#/actions"] : ["#/", "#/actions"];
    const page = await open(t, url, { colorScheme: theme, bypassCSP: true });
    for (const hash of hashes) {
      await page.goto(url + hash);
      await page.waitForSelector(".tile, .badge, table, .note");
      await assertSound(page, hash);
    }
  });
}

test("the keyboard alone suffices: to a tile, through the wall, to the service and back", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(400));
  const page = await open(t, mock.url);
  await onWall(page);
  const at = () => page.evaluate(() => document.activeElement?.getAttribute("href") ?? document.activeElement?.id ?? "");
  await page.keyboard.press("Tab");
  assert.equal(await at(), "#main");
  assert.equal(await page.evaluate(() => (document.activeElement?.getBoundingClientRect().top ?? -1) >= 0), true, "the skip link is seen");
  await page.keyboard.press("Enter");
  for (let i = 0; i < 40 && !(await at()).startsWith("#/s/"); i++) await page.keyboard.press("Tab");
  const first = await at();
  assert.equal(first, await page.locator(".tile").first().getAttribute("href"));
  const ring = await page.evaluate(() => getComputedStyle(/** @type {Element} */ (document.activeElement)).outlineStyle);
  assert.equal(ring, "solid");
  await page.keyboard.press("ArrowRight");
  assert.notEqual(await at(), first);
  // One stop for Tab, however many tiles: the arrows do the rest.
  assert.equal(await page.locator('.tile[tabindex="0"]').count(), 1);
  for (let i = 0; i < 30; i++) await page.keyboard.press("ArrowDown");
  assert.ok(await page.evaluate(() => scrollY) > 500);
  const box = await page.evaluate(() => document.activeElement?.getBoundingClientRect().toJSON());
  assert.ok(box.top >= 0 && box.bottom <= 800, "the tile with the focus is in sight");
  await page.keyboard.press("End");
  await page.keyboard.press("Home");
  assert.equal(await at(), first);
  // The focus stays with its tile when the wall is sorted anew.
  mock.world.breach([...mock.world.services.keys()][300], 9_999_999);
  await page.waitForFunction((href) => document.querySelector(".tile")?.getAttribute("href") !== href, first);
  assert.equal(await at(), first);
  // And with one that moves itself.
  for (let i = 0; i < 4; i++) await page.keyboard.press("ArrowDown");
  const moving = await at();
  assert.equal(await page.locator(`.tile[href="${moving}"]`).getAttribute("data-look"), "healthy");
  mock.world.breach(moving.slice("#/s/".length), 8_888_888);
  await page.waitForFunction((href) => document.querySelector(`.tile[href="${href}"]`)?.getAttribute("data-look") === "breached", moving);
  assert.equal(await at(), moving);
  await page.keyboard.press("Enter");
  await page.waitForURL(/#\/s\//);
  await page.locator(".badge").waitFor();
  await page.goBack();
  await onWall(page);
  await page.keyboard.press("/");
  assert.equal(await at(), "search");
});

test("who wants no motion gets none", MOCK_ONLY, async (t) => {
  const mock = await serve(t);
  const moving = async (/** @type {"reduce" | "no-preference"} */ reducedMotion) => {
    const page = await open(t, mock.url, { reducedMotion });
    await onWall(page);
    return page.evaluate(() => getComputedStyle(/** @type {Element} */ (document.querySelector(".tile"))).transitionDuration);
  };
  assert.equal(await moving("reduce"), "0s");
  assert.notEqual(await moving("no-preference"), "0s");
});
