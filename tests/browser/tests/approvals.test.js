// @ts-check
// What waits for a human's word: the queue, its number everywhere, and that a word is given once, knowingly, or not.
import { test } from "node:test";
import assert from "node:assert/strict";
import { assertFits, assertSound, MOCK_ONLY, onWall, open, picture, serve, THEMES, tile, WIDTHS } from "./harness.js";
import { exhibition, World } from "../mock/world.js";

/** A fleet in which one action waits. @param {Parameters<World["await"]>[2]} [how] */
function asking(how) {
  const world = World.of(12);
  const [id] = world.services.keys();
  const incident = world.breach(id, 60_000);
  const action = world.request(id, "scale_up", { compute: "+2" }, { step: 1, basis: "opened" });
  world.await(id, action, how);
  return { world, id, incident, action };
}

const WHAT = /Scales deployment tsa_scanner_0001 in namespace airport from 4 to 6 replicas\./;

for (const theme of THEMES) {
  for (const [width, height] of WIDTHS) {
    test(`the queue is sound at ${width} px, ${theme}`, MOCK_ONLY, async (t) => {
      const mock = await serve(t, exhibition(60));
      const page = await open(t, `${mock.url}#/approvals`, { viewport: { width, height }, colorScheme: theme, bypassCSP: true });
      await page.locator(".ask").nth(1).waitFor();
      await page.locator("table").waitFor();
      await assertFits(page);
      await picture(page, `approvals-${width}-${theme}`);
      await assertSound(page, "#/approvals");
      await page.getByRole("button", { name: "Approve …" }).first().click();
      await page.locator("#reason").fill("looked at the belt: more pods help");
      await assertFits(page);
      await picture(page, `approve-${width}-${theme}`);
      await assertSound(page, "the question");
    });
  }
}

test("the most urgent stands first, with what would be done, what it touches, why it waits and for what", MOCK_ONLY, async (t) => {
  const mock = await serve(t, exhibition(60));
  const page = await open(t, `${mock.url}#/approvals`);
  await page.locator(".ask").nth(1).waitFor();
  const cards = await page.locator(".ask").allInnerTexts();
  assert.deepEqual(cards.map((text) => text.split("\n")[0].split(" ")[0]), ["rollback", "scale"]);
  assert.match(cards[0], /1 min \d+ s left/);
  assert.match(cards[0], /back from revision 41 to revision 40\..*All 8 pods of 1 deployment.*budget service: 6 actions of this service/s);
  assert.equal(await page.locator(".ask").nth(1).getByRole("link", { name: "DCA_Luggage_Scanner.2" }).getAttribute("href"), "#/i/DCA_Luggage_Scanner.2");
  assert.equal(await page.locator(".ask").nth(1).getByRole("link", { name: "DCA_Luggage_Scanner", exact: true }).getAttribute("href"), "#/s/DCA_Luggage_Scanner");
  assert.match(await page.locator("section.box", { hasText: "Decided lately" }).innerText(), /denied\s+denied by maria: the belt is jammed/);
  const left = await page.locator(".ask-time").nth(1).innerText();
  await page.waitForFunction((before) => document.querySelectorAll(".ask-time")[1].textContent !== before, left);
});

test("what comes to wait is told on the tile, in the head of every page and on the incident, at once", MOCK_ONLY, async (t) => {
  const mock = await serve(t);
  const page = await open(t, mock.url);
  await onWall(page);
  assert.equal(await page.locator("#asks").innerText(), "Approvals");
  const [id] = mock.world.services.keys();
  const incident = mock.world.breach(id);
  const action = mock.world.request(id, "scale_up", { compute: "+2" }, { step: 1, basis: "opened" });
  mock.world.await(id, action);
  await tile(page, id).getByText("scale up waits for approval").waitFor();
  for (const hash of [`#/s/${id}`, "#/actions", "#/nowhere", "#kiosk", `#/i/${incident}`]) {
    await page.goto(mock.url + hash);
    await page.locator("#asks .number", { hasText: "1" }).waitFor();
  }
  await page.getByText("scale up: waits for approval. Decide").waitFor();
  await page.getByText("Scale up: waits for approval: budget incident").waitFor();
  mock.world.decide(action, true, "maria", "it is the belt");
  await page.getByText("Scale up: approved by a human").waitFor();
  await page.getByText("By maria on deployment tsa_scanner_0001. Reason: “it is the belt”.").waitFor();
  await page.locator("#asks .number").waitFor({ state: "detached" });
});

test("an approval repeats the sentence, asks for a reason, and is given once with the hash that was shown", MOCK_ONLY, async (t) => {
  const { world, action } = asking();
  const mock = await serve(t, world);
  const page = await open(t, `${mock.url}#/approvals`);
  /** @type {{ url: string, body: any, header: string | undefined }[]} */
  const said = [];
  page.on("request", (request) => request.method() === "POST" && said.push({ url: request.url(), body: request.postDataJSON(), header: request.headers()["x-ops"] }));
  const { hash } = world.approvals()[0];
  await page.getByRole("button", { name: "Approve …" }).click();
  assert.match(await page.locator("dialog blockquote").innerText(), WHAT);
  const confirm = page.locator("#confirm");
  assert.equal(await confirm.isDisabled(), true);
  await page.locator("#reason").fill("   ");
  assert.equal(await confirm.isDisabled(), true);
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(said.length, 0);
  await page.getByRole("button", { name: "Approve …" }).click();
  await page.locator("#reason").fill("it is the belt");
  await confirm.click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.getByText("Nothing waits for approval.").waitFor();
  assert.deepEqual(said.map(({ body, header }) => [body, header]), [[{ reason: "it is the belt", hash }, "1"]]);
  assert.ok(said[0].url.endsWith(`/api/v1/actions/${action}/approve`));
  assert.deepEqual(world.deed(action).events.map((event) => event.event), ["awaiting", "approved", "started"]);
  // Who said so is told of what is done by now, too.
  await page.locator("td", { hasText: "under way" }).getByText("approved by operator: it is the belt").waitFor();
});

test("a denial goes on the record with its reason, by the keyboard alone", MOCK_ONLY, async (t) => {
  const { world, action } = asking();
  const mock = await serve(t, world);
  const page = await open(t, `${mock.url}#/approvals`);
  await page.locator(".ask").waitFor();
  const at = () => page.evaluate(() => document.activeElement?.textContent ?? "");
  for (let i = 0; i < 30 && (await at()) !== "Deny …"; i++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.type("not before the shift ends");
  await page.keyboard.press("Enter");
  await page.getByText("Nothing waits for approval.").waitFor();
  assert.deepEqual(world.deed(action).events.map((event) => [event.event, event.reason]).slice(1), [["rejected", "not before the shift ends"], ["denied", "operator: not before the shift ends"]]);
  // Whoever was at a card that left is not lost at the top of the document.
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), "H1");
});

test("that somebody else has decided is said while one still thinks, and nothing more can be sent", MOCK_ONLY, async (t) => {
  const { world, action } = asking();
  const mock = await serve(t, world);
  const page = await open(t, `${mock.url}#/approvals`);
  await page.getByRole("button", { name: "Approve …" }).click();
  await page.locator("#reason").fill("mine");
  world.decide(action, false, "maria", "no");
  await page.locator("dialog").getByText("Somebody else has decided: denied by maria.").waitFor();
  assert.equal(await page.locator("#confirm").isVisible(), false);
  await picture(page, "decided");
  await page.getByRole("button", { name: "Close" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
});

test("a refusal is told as what it is: decided, expired, another hash, or no server", MOCK_ONLY, async (t) => {
  const { world, action } = asking();
  const mock = await serve(t, world);
  const page = await open(t, `${mock.url}#/approvals`, { isRefusalExpected: true });
  await page.locator(".ask").waitFor();
  // Nothing is told of it but by the answer: as when two say it in the same moment.
  const emit = world.emit;
  world.emit = () => {};
  const waits = { ...world.approvals()[0] };
  /** @type {[() => void, string, boolean][]} */
  const cases = [
    [() => { world.waiting.set(action, { ...waits, hash: "0".repeat(64) }); }, "What would be done is something else by now", true],
    [() => { world.waiting.set(action, { ...waits, expires_at: 1 }); }, "Its time is over", true],
    [() => { world.waiting.set(action, { ...waits }); world.decide(action, true, "maria", "yes"); }, "Somebody else has decided: maria has approved it already", true],
  ];
  // The queue stays as it was, so that the question can be asked again.
  await page.route("**/api/v1/approvals", (route) => route.fulfill({ json: { now: world.now(), approvals: [waits] } }));
  for (const [happen, text, isFinal] of cases) {
    await page.getByRole("button", { name: "Approve …" }).click();
    await page.locator("#reason").fill("mine");
    happen();
    await page.locator("#confirm").click();
    await page.locator("dialog .error", { hasText: text }).waitFor();
    assert.equal(await page.locator("#confirm").isVisible(), !isFinal);
    await page.keyboard.press("Escape");
  }
  await page.route("**/approve", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"title":"no","detail":"it is written, but was not read back yet"}' }));
  await page.getByRole("button", { name: "Approve …" }).click();
  await page.locator("#reason").fill("mine");
  await page.locator("#confirm").click();
  await page.locator("dialog .error", { hasText: "Not confirmed: it is written" }).waitFor();
  await page.keyboard.press("Escape");
  await page.unroute("**/approve");
  await mock.stop();
  await page.getByRole("button", { name: "Approve …" }).click();
  await page.locator("#reason").fill("mine");
  await page.locator("#confirm").click();
  await page.locator("dialog .error", { hasText: "the server cannot be reached" }).waitFor();
  assert.equal(await page.locator("#confirm").isDisabled(), false, "it can be tried again");
  world.emit = emit;
});

test("what expires leaves the queue and the head by itself, without a word of the server", MOCK_ONLY, async (t) => {
  const { world } = asking({ lasts: 4_000 });
  const mock = await serve(t, world);
  const page = await open(t, `${mock.url}#/approvals`);
  await page.locator(".ask").waitFor();
  mock.isBeating = false;
  await page.getByText("Nothing waits for approval.").waitFor();
  assert.equal(await page.locator("#asks .number").count(), 0);
});

test("what waits while all is frozen says that a word would be held back", MOCK_ONLY, async (t) => {
  const { world, id } = asking();
  const mock = await serve(t, world);
  const page = await open(t, `${mock.url}#/approvals`);
  await page.locator(".ask").waitFor();
  world.hand(id, "by hand now", true);
  await page.locator(".ask").getByText("by hand now").waitFor();
  world.hand(null, "migration", true);
  await page.locator(".ask").getByText("All actions are frozen").waitFor();
});

test("hostile text in what waits is shown, not obeyed", MOCK_ONLY, async (t) => {
  const bad = `<img src=x onerror=window.pwned=1>\u202e${"x".repeat(5000)}`;
  const world = new World();
  const { id } = world.add(bad.slice(0, 60), bad);
  world.breach(id);
  const action = world.request(id, bad, { [bad]: bad }, { step: 1, basis: bad });
  world.await(id, action, { goal: { [bad]: bad }, reason: bad, why: bad, what: bad, blast_radius: bad });
  const mock = await serve(t, world);
  const page = await open(t, `${mock.url}#/approvals`);
  await page.locator(".ask").waitFor();
  await page.locator("summary").click();
  await page.getByRole("button", { name: "Approve …" }).click();
  await assertFits(page);
  await picture(page, "hostile-approval");
  assert.equal(await page.evaluate(() => "pwned" in window || document.body.innerText.includes("\u202e")), false);
});

test("the actions say what waits and why, who decided, and what nobody decided", MOCK_ONLY, async (t) => {
  const { world, action, id } = asking();
  const mock = await serve(t, world);
  const page = await open(t, `${mock.url}#/actions`);
  const state = page.locator('td[data-name="State"]').last();
  await state.getByText("waits for approval: budget incident, 3 actions of this incident have been carried out").waitFor();
  assert.equal(await state.getByRole("link", { name: "Decide" }).getAttribute("href"), "#/approvals");
  world.expire(action);
  await state.getByText("expired: nobody decided in time").waitFor();
  await page.goto(`${mock.url}#/i/${id}.1`);
  await page.getByText("Scale up: expired: nobody decided in time").waitFor();
});
