// @ts-check
// The page of one incident: what happened, in order, with the evidence of every verdict, and whether actions helped.
import * as api from "./api.js";
import { fill, h, time } from "./dom.js";
import { json, markdown, save } from "./export.js";
import { explainer, vaultBox } from "./explain.js";
import { clock, moment, span, words } from "./format.js";
import * as freeze from "./freeze.js";
import { shape } from "./look.js";
import { store } from "./store.js";
import { outline, tell } from "./story.js";
import { bdi, serviceLink } from "./text.js";
import { waiting } from "./waiting.js";

/** @typedef {import("./contract.d.ts").Story} Story */
/** @typedef {import("./story.js").Chapter} Chapter */

/**
 * @param {HTMLElement} root
 * @param {import("./router.js").Route} route
 * @param {AbortSignal} signal
 */
export function mount(root, route, signal) {
  const { id } = route;
  const crumbs = h("nav.crumbs", { "aria-label": "You are here" }, h("a", { href: "#/" }, "Wall"), " › ", bdi(id));
  const head = h("div.title", null, h("p.empty", null, "Loading ..."));
  const asked = h("div.slot");
  const frozen = h("div.slot");
  const body = h("div.story");
  const vault = vaultBox(id, signal);
  const check = h("section.box", { hidden: true }, h("h2", null, "Check it yourself"), explainer(id, signal));
  fill(root, crumbs, head, asked, frozen, body, vault.box, check);
  /** @type {Story | null} */
  let story = null;
  const load = async () => {
    try {
      story = await api.incident(id, signal);
    } catch (error) {
      if (!signal.aborted && !story) {
        const isNone = error instanceof api.Refused && error.status === 404;
        fill(head, h("h1", null, bdi(id)), h("p.error", null, isNone ? "There is no incident of that name." : String(error instanceof Error ? error.message : error)));
      }
      return;
    }
    fill(crumbs, h("a", { href: "#/" }, "Wall"), " › ", h("a", { href: serviceLink(story.service) }, bdi(story.service)), " › ", bdi(id));
    showHead(head, story);
    // What somebody has opened stays open.
    const opened = new Set([...body.querySelectorAll("details[open]")].map((details) => details.getAttribute("data-key")));
    fill(body, effects(story), timeline(story));
    for (const details of body.querySelectorAll("details")) details.open = opened.has(details.getAttribute("data-key"));
    check.hidden = false;
    sayFrozen();
    void vault.load();
  };
  const sayAsked = () => {
    const own = waiting.list.filter((one) => one.incident === id);
    fill(asked, own.length > 0 && h("p.hold.wide", null, `${own.map((one) => words(one.verb)).join(", ")}: ${own.length > 1 ? "wait" : "waits"} for approval. `, h("a", { href: "#/approvals" }, "Decide")));
  };
  const sayFrozen = () => {
    const by = story ? store.services.get(story.service)?.status.frozen : null;
    if (frozen.dataset.key === (by?.action_id ?? "")) return;
    frozen.dataset.key = by?.action_id ?? "";
    fill(frozen, freeze.notice(by));
  };
  waiting.on(sayAsked, signal);
  sayAsked();
  const isMine = (/** @type {{ incident?: string }} */ event) => event.incident === id;
  store.on("incident", (event) => isMine(event) && void load(), signal);
  store.on("action", (event) => isMine(event) && void load(), signal);
  store.on("services", (/** @type {import("./store.js").Change} */ change) => {
    if (change.isReset || (story && change.moved.includes(story.service))) void load();
    sayFrozen();
  }, signal);
  const timer = setInterval(() => story && sayAge(head, story), 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  void load();
}

/**
 * @param {HTMLElement} head
 * @param {Story} story
 */
function showHead(head, story) {
  const { cause, openedAt, endedAt, end, isFlapping } = outline(story);
  const look = endedAt === null ? "breached" : "healthy";
  const word = endedAt === null ? "open" : end ?? "over";
  document.title = `${word}: ${story.incident.slice(0, 60)}`;
  fill(head,
    h("p.badge", { "data-look": end === "closed" ? "inactive" : look }, shape(end === "closed" ? "inactive" : look), " ", word),
    h("div", null, h("h1", null, bdi(story.incident)),
      h("p.of", null, "of ", h("a", { href: serviceLink(story.service) }, bdi(story.service)), ", cause ", bdi(cause), isFlapping && ", flapping")),
    h("div.open", null,
      h("p", null, "Opened ", time(openedAt, moment(openedAt), "local time"), endedAt !== null && h("span", null, ", ended ", time(endedAt, moment(endedAt), "local time"))),
      h("p", null, endedAt === null ? "Open for " : "Lasted ", h("b", { "data-age": "" }))),
    h("div.row", null,
      h("button", { type: "button", onclick: () => save(`${story.incident}.md`, "text/markdown", markdown(story)) }, "Save as Markdown"),
      h("button", { type: "button", onclick: () => save(`${story.incident}.json`, "application/json", json(story)) }, "Save as JSON")));
  sayAge(head, story);
}

/**
 * @param {HTMLElement} head
 * @param {Story} story
 */
function sayAge(head, story) {
  const { openedAt, endedAt } = outline(story);
  const age = head.querySelector("[data-age]");
  if (age) age.textContent = openedAt === null ? "–" : span((endedAt ?? store.now()) - openedAt);
}

/** Before and after of each action that was looked at. @param {Story} story */
function effects(story) {
  const looked = tell(story).filter((chapter) => chapter.effect !== null);
  if (!looked.length) return "";
  return h("section.box", null, h("h2", null, "Did it help? ", h("small", null, "readings over the limit; p95 is an estimate")), ...looked.map(effect));
}

/** The counts decide, so they are what is drawn. @param {Chapter} chapter */
function effect({ title, tone, effect: sides }) {
  if (!sides) return "";
  const bar = (/** @type {string} */ name, /** @type {import("./story.js").Side} */ { part, text }, /** @type {string} */ kind) => {
    const filled = h("span", { class: `bar-fill ${kind}` });
    filled.style.width = `${(100 * (part ?? 0)).toFixed(1)}%`;
    return h("div.bar", null, h("span.bar-name", null, name), h("span.bar-track", null, filled), h("span", null, text));
  };
  return h("div.effect", null, h("p", { class: tone }, h("b", null, bdi(title, 200))), bar("before", sides.before, "was"),
    bar("after", sides.after, sides.isGood ? "cool" : "hot"));
}

/** @param {Story} story */
function timeline(story) {
  const chapters = tell(story);
  const first = chapters[0]?.at ?? 0;
  return h("section.box", null, h("h2", null, "What happened"), h("ol.timeline", null, ...chapters.map((chapter) => h("li", { "data-tone": chapter.tone },
    h("div.when", null, time(chapter.at, clock(chapter.at), moment(chapter.at)), h("small", null, chapter.at === first ? "" : ` +${span(chapter.at - first)}`)),
    h("div", null,
      h("p.what", null, bdi(chapter.title, 200)),
      chapter.text && h("p", null, bdi(chapter.text, 400)),
      chapter.effect && h("p", null, `Before: ${chapter.effect.before.text}. After: ${chapter.effect.after.text}.`),
      chapter.evidence.length > 0 && h("details", { "data-key": `${chapter.at} ${chapter.title}` }, h("summary", null, "Evidence"),
        h("dl.evidence", null, ...chapter.evidence.map(([name, value]) => h("div", null, h("dt", null, bdi(name)), h("dd", null, bdi(value, 200)))))))))));
}

