// @ts-check
// The pure modules of the page, without a browser.
import { test } from "node:test";
import assert from "node:assert/strict";
import { visible, segment } from "../../../src/warroom/assets/js/text.js";
import { lookOf } from "../../../src/warroom/assets/js/look.js";
import { coarse, num, span } from "../../../src/warroom/assets/js/format.js";
import { proof } from "../../../src/warroom/assets/js/evidence.js";
import { parse } from "../../../src/warroom/assets/js/router.js";
import * as range from "../../../src/warroom/assets/js/range.js";
import { between, byState, plan, sorted, step } from "../../../src/warroom/assets/js/plan.js";
import { markdown } from "../../../src/warroom/assets/js/export.js";
import { decisive } from "../../../src/warroom/assets/js/deeds.js";
import { tell } from "../../../src/warroom/assets/js/story.js";
import { World } from "../mock/world.js";

/** @typedef {import("../../../src/warroom/assets/js/store.js").Entry} Entry */

const status = (/** @type {object} */ more) => {
  const world = World.of(1);
  return { ...world.status([...world.services.values()][0]), ...more };
};

test("what a reader would not see is shown, and what turns the text is taken apart", () => {
  assert.equal(visible("a\u202eb\u0000\u200b\n"), "a‹U+202E›b‹U+0000›‹U+200B›‹U+000A›");
  assert.equal(visible("Zürich 東京 😀"), "Zürich 東京 😀");
  assert.ok(visible(`e${"\u0301".repeat(500)}`).length < 10);
});

test("of several words on what was asked the first in time and for it counts, as for the actor", () => {
  const event = (/** @type {string} */ event, /** @type {object} */ more) => /** @type {any} */ ({ event, hash: "a", at: 5, actor: "alice", ...more });
  const asked = event("awaiting", { expires_at: 10 });
  const of = (/** @type {any[]} */ ...events) => decisive(events)?.actor ?? null;
  assert.equal(of(asked, event("approved", {}), event("rejected", { actor: "bob" })), "alice");
  assert.equal(of(asked, event("approved", { hash: "b", actor: "mallory" }), event("rejected", {})), "alice");
  assert.equal(of(asked, event("approved", { at: 11, actor: "late" })), null);
  assert.equal(of(event("approved", { actor: "early" }), asked), null);
});

test("an id never becomes a step in a path", () => {
  assert.deepEqual([".", "..", "", "\ud800"].map(segment), [null, null, null, null]);
  assert.equal(segment("../a?b#c"), "..%2Fa%3Fb%23c");
});

test("what is not known is never green", () => {
  for (const quality of ["no_data", "stale", "insufficient", "inactive", "no_slo"]) {
    assert.equal(lookOf(status({ slo_state: "unknown", quality })), quality);
    assert.notEqual(lookOf(status({ slo_state: "healthy", quality })), "healthy");
  }
  assert.equal(lookOf(status({ slo_state: "unknown", quality: "fresh", state: [] })), "stale");
  assert.equal(lookOf(status({ slo_state: "healthy", quality: "something_new", state: [] })), "stale");
  assert.equal(lookOf(status({})), "healthy");
});

test("an open incident outweighs whatever the quality says, and only its own phase calms it", () => {
  const open = [{ incident: "s.1", cause: "slo", opened_at: 1 }];
  const machine = (/** @type {string} */ phase) => [{ cause: "slo", phase, held_ms: 0 }];
  const breached = { slo_state: "breached", open_incidents: open };
  assert.equal(lookOf(status({ ...breached, quality: "stale", state: [] })), "breached");
  assert.equal(lookOf(status({ ...breached, state: machine("open") })), "breached");
  assert.equal(lookOf(status({ ...breached, state: machine("recovering") })), "recovering");
  assert.equal(lookOf(status({ open_incidents: [{ incident: "s.2", cause: "error_rate > 2 %", opened_at: 1 }] })), "incident");
  assert.equal(lookOf(status({ state: machine("pending") })), "pending");
});

test("numbers and spans are short and say no more than is known", () => {
  assert.deepEqual([null, NaN, 0, 31.234, 12345, 0.00001, 1e9].map(num), ["–", "–", "0", "31.2", "12\u202f345", "1.0e-5", "1.0e+9"]);
  assert.deepEqual([0, 900, 61_000, 3_700_000, 90_000_000].map(span), ["0 s", "900 ms", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
  assert.deepEqual([900, 61_000, 7_300_000].map(coarse), ["0 s", "1 min", "2 h"]);
});

test("the proof compares two integers", () => {
  assert.match(proof({ n: 100, over: 6, rank: 95, threshold: 30 }, "readings"), /6 of 100 .*\(6\.0 %\).*above 30; more than 5 is a breach/);
  assert.match(proof({ n: 100, over: 5, rank: 95, threshold: 30 }, "readings"), /up to 5 is good/);
  assert.equal(proof({ n: null }, "readings"), "");
});

test("addresses lead where they say, and nonsense leads nowhere", () => {
  assert.deepEqual([parse("#/s/a%2Fb").page, parse("#/s/a%2Fb").id], ["service", "a/b"]);
  assert.deepEqual(["", "#/", "#/actions", "#/i/s.1", "#kiosk"].map((hash) => parse(hash).page), ["wall", "wall", "actions", "incident", "wall"]);
  assert.ok(parse("#kiosk").params.has("kiosk"));
  assert.deepEqual(["#/s/%", "#/s/", "#/s/a/b", "#/nowhere"].map((hash) => parse(hash).page), ["lost", "lost", "lost", "lost"]);
});

test("a stretch of time survives its address, and what reaches now is live", () => {
  const past = { span: 600_000, to: 1_000_000_000 };
  assert.deepEqual(range.read(range.write(past), 0), past);
  assert.deepEqual(range.read(range.write({ span: 900_000, to: null }), 0), { span: 900_000, to: null });
  assert.deepEqual([0, 10_000, 300_000, 3_600_000].map((window) => range.read(new URLSearchParams(), window).span), [300_000, 300_000, 900_000, 21_600_000]);
  assert.equal(range.move({ span: 600_000, to: 1_000 }, 1, 100_000).to, null);
  assert.equal(range.move({ span: 600_000, to: null }, -1, 1_000_000).to, 700_000);
  assert.equal(range.read(new URLSearchParams("from=5&to=1e999"), 0).to, null);
});

/** @param {import("../../../src/warroom/assets/js/look.js").Look[]} looks */
const entries = (looks) => looks.map((look, i) => /** @type {Entry} */ (/** @type {unknown} */ ({
  look, since: look === "breached" ? 1000 - i : null, sought: `s${i}\nowner`, status: { service: `s${i}`, owner: i % 2 ? "a" : "b" },
})));
const MEASURES = { width: 1000, gap: 10, heading: 40, big: { min: 300, height: 150 }, small: { min: 150, height: 100 }, screen: 800 };

test("the worst stands first, and of the same the longest in trouble", () => {
  const found = sorted(entries(["healthy", "breached", "no_data", "breached", "recovering"]), { text: "", look: null });
  assert.deepEqual(found.map((entry) => entry.status.service), ["s3", "s1", "s4", "s2", "s0"]);
  assert.deepEqual(sorted(found, { text: "OWNER s4", look: null }).length, 1);
  assert.deepEqual(sorted(found, { text: "", look: "no_data" }).map((entry) => entry.look), ["no_data"]);
});

test("a few services have room to be read from afar, many have not", () => {
  const bigs = (/** @type {number} */ n) => plan(byState(entries(Array(n).fill("healthy"))), MEASURES).order.filter((place) => place.isBig).length;
  assert.deepEqual([1, 12, 13, 2000].map(bigs), [1, 12, 0, 0]);
});

test("only rows in sight are made, of any of 2,000", () => {
  const made = plan(byState(entries(Array.from({ length: 2000 }, (_, i) => (i < 5 ? "breached" : "healthy")))), MEASURES);
  assert.equal(made.order.length, 2000);
  for (const from of [0, 5000, made.height - 800]) {
    const rows = between(made.rows, from, from + 800);
    assert.ok(rows.length > 5 && rows.length < 12);
    assert.deepEqual(rows, made.rows.filter((row) => row.y + row.height >= from && row.y <= from + 800));
  }
});

test("arrow keys go to the nearest tile of the next row, however many columns it has", () => {
  const made = plan(byState(entries(["breached", "breached", "breached", ...Array(12).fill("healthy")])), MEASURES);
  const down = step(made, 2, "ArrowDown") ?? -1;
  assert.ok(made.order[down].y > made.order[2].y && Math.abs(made.order[down].x - made.order[2].x) < 200);
  assert.equal(step(made, 0, "ArrowUp"), 0);
  assert.deepEqual([step(made, 0, "End"), step(made, 5, "Home"), step(made, 0, "ArrowLeft"), step(made, 0, "x")], [14, 0, 0, null]);
});

test("what stands in a story cannot write into the Markdown around it", () => {
  const world = World.of(1);
  const [id] = world.services.keys();
  const incident = world.breach(id);
  const action = world.request(id, "page", { channel: "a`b](http://x)\n# Not a heading" }, { step: 1, basis: "opened" });
  world.act(id, action, { event: "failed", reason: "<script>alert(1)</script> `x`" });
  const story = { incident, service: id, events: world.get(id).events.get(incident) ?? [], actions: world.get(id).deeds };
  const text = markdown(story);
  assert.equal(text.match(/^#/gm)?.length, 2);
  assert.doesNotMatch(text, /<script>|[^\\]\]\(http/);
  assert.match(text, /31 of 291 readings of the window/);
  assert.deepEqual(tell(story).map((chapter) => chapter.title.split(":")[0]), ["Opened", "Asked for", "Page"]);
});
