// @ts-check
// A server that wants a token: who one is, what one may, and that it is live for those who may not see all.
import { test } from "node:test";
import assert from "node:assert/strict";
import { assertFits, assertSound, MOCK_ONLY, onWall, open, picture, serve, THEMES, tile, WIDTHS } from "./harness.js";
import { exhibition, World } from "../mock/world.js";

const ID = "DCA_Luggage_Scanner";
const ALL = ["emit", "read", "act"];

/** @param {import("node:test").TestContext} t @param {World} [world] */
async function guarded(t, world = exhibition(60)) {
  const mock = await serve(t, world);
  mock.tokens = {
    chief: { name: "maria", rights: ALL, services: ["*"] }, guest: { name: "wall screen", rights: ["read"], services: ["*"] },
    team: { name: "TSA team", rights: ["read", "act"], services: ["DCA_*"] },
  };
  return mock;
}

/** @param {import("playwright-core").Page} page @param {string} token */
async function logIn(page, token) {
  await page.locator("#token").fill(token);
  await page.keyboard.press("Enter");
}

for (const theme of THEMES) {
  for (const [width, height] of WIDTHS) {
    test(`the login is sound at ${width} px, ${theme}`, MOCK_ONLY, async (t) => {
      const mock = await guarded(t);
      const page = await open(t, mock.url, { viewport: { width, height }, colorScheme: theme, bypassCSP: true });
      await page.locator("#token").waitFor();
      await assertFits(page);
      await picture(page, `login-${width}-${theme}`);
      await assertSound(page, "the login");
      await logIn(page, "chief");
      await onWall(page);
      await page.locator("#logout").waitFor();
      await assertFits(page);
      await picture(page, `logged-in-${width}-${theme}`);
    });
  }
}

test("one logs in with a token and is where one wanted to be; a wrong one is told; logging out leaves nothing", MOCK_ONLY, async (t) => {
  const mock = await guarded(t);
  /** @type {string[]} */
  const asked = [];
  const page = await open(t, "about:blank", { isRefusalExpected: true });
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await page.goto(`${mock.url}#/i/${ID}.2`);
  await page.locator("#token").waitFor();
  assert.deepEqual(asked.filter((path) => path.startsWith("/api/")), ["/api/v1/me"], "nothing is asked for that would be refused");
  assert.equal(await page.locator("#token").getAttribute("type"), "password");
  assert.equal(await page.locator("#token").getAttribute("autocomplete"), "current-password");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "token");
  await logIn(page, "guess");
  await page.getByText("That token is not known here.").waitFor();
  await logIn(page, "chief");
  await page.locator(".timeline").waitFor();
  await page.locator("#who", { hasText: "maria" }).waitFor();
  assert.ok(!page.url().includes("chief"));
  assert.equal(await page.evaluate(() => document.cookie), "", "no script reads the session");
  await page.locator("#logout").click();
  await page.locator("#token").waitFor();
  assert.equal(mock.sessions.size, 0);
  assert.equal(await page.locator(".timeline, .tile").count(), 0);
});

test("too many tries are told as that", MOCK_ONLY, async (t) => {
  const mock = await guarded(t);
  const page = await open(t, mock.url, { isRefusalExpected: true });
  await page.route("**/api/v1/login", (route) => route.fulfill({ status: 429, contentType: "application/problem+json", body: '{"title":"slow down","detail":"too many wrong tokens: try again in 30 s"}' }));
  await logIn(page, "guess");
  await page.getByText("Not logged in: too many wrong tokens: try again in 30 s.").waitFor();
});

test("a session that ends while one looks leads to the login, and from there back", MOCK_ONLY, async (t) => {
  const mock = await guarded(t);
  const page = await open(t, `${mock.url}#/actions`, { isRefusalExpected: true });
  await logIn(page, "chief");
  await page.locator("table").waitFor();
  mock.sessions.clear();
  mock.hangUp();
  await page.locator("#token").waitFor();
  assert.equal(await page.locator("#banner").isVisible(), false);
  assert.equal(await page.locator("table").count(), 0);
  await logIn(page, "chief");
  await page.locator("table").waitFor();
});

test("who may only read sees no button that would be refused", MOCK_ONLY, async (t) => {
  const mock = await guarded(t);
  const page = await open(t, mock.url);
  await logIn(page, "guest");
  await onWall(page);
  await page.locator("#who", { hasText: "wall screen (reads only)" }).waitFor();
  for (const [hash, there] of [["#/", ".tile"], ["#/actions", "table"], [`#/s/${ID}`, ".u-wrap"], ["#/approvals", ".ask"]]) {
    await page.goto(mock.url + hash);
    await page.locator(there).first().waitFor();
    assert.equal(await page.getByRole("button", { name: /Freeze|Thaw|Approve|Deny/ }).count(), 0, hash);
  }
  await page.locator(".ask").first().getByText("You may read this, and not decide it.").waitFor();
});

test("a token for some services: the page asks every 5 s in place of the stream, says so, and follows", MOCK_ONLY, async (t) => {
  const mock = await guarded(t);
  /** @type {string[]} */
  const asked = [];
  const page = await open(t, mock.url);
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await logIn(page, "team");
  await onWall(page);
  await page.getByText("live every 5 s").waitFor();
  assert.deepEqual(await page.locator(".tile .name").allInnerTexts(), [ID]);
  assert.ok(!asked.includes("/api/v1/stream"));
  // One may act on one's own service, and not on all.
  assert.equal(await page.getByRole("button", { name: "Freeze actions" }).count(), 0);
  await page.goto(`${mock.url}#/i/${ID}.2`);
  await page.locator(".timeline").waitFor();
  await page.locator("#asks .number", { hasText: "1" }).waitFor();
  const waits = mock.world.approvals().find((one) => one.service === ID);
  mock.world.decide(waits?.action_id ?? "", true, "team mate", "yes");
  await page.getByText("Scale up: approved by a human").waitFor();
  await page.locator("#asks .number").waitFor({ state: "detached" });
  mock.world.resolve(ID);
  await page.locator(".badge", { hasText: "resolved" }).waitFor();
  await page.goto(`${mock.url}#/s/${ID}`);
  await page.getByRole("button", { name: "Freeze its actions" }).waitFor();
});

test("a stream that turns out to be for others is not waited for", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, "about:blank", { isRefusalExpected: true });
  await page.route("**/api/v1/stream", (route) => route.fulfill({ status: 403, contentType: "application/problem+json", body: '{"title":"no","detail":"it tells of all services"}' }));
  await page.goto(mock.url);
  await page.getByText("live every 5 s").waitFor();
  await onWall(page);
  await page.locator("#banner").waitFor({ state: "hidden" });
});

test("asking every 5 s finds out that the server is gone, too", MOCK_ONLY, async (t) => {
  const mock = await guarded(t);
  const page = await open(t, mock.url, { isRefusalExpected: true });
  await logIn(page, "team");
  await onWall(page);
  await mock.stop();
  await page.locator("#banner").waitFor({ timeout: 15_000 });
  await tile(page, ID).getByText(/^as of /).waitFor();
  await mock.start();
  await page.locator("#banner").waitFor({ state: "hidden", timeout: 15_000 });
  await tile(page, ID).getByText(/ago$/).waitFor();
});
