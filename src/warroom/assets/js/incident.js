// @ts-check
// The page of one incident: what happened, in order, with the evidence of every verdict, and whether actions helped.
import * as api from "./api.js";
import { fill, h, time } from "./dom.js";
import { json, markdown, save } from "./export.js";
import { clock, moment, span } from "./format.js";
import { shape } from "./look.js";
import { store } from "./store.js";
import { outline, tell } from "./story.js";
import { bdi, serviceLink, visible } from "./text.js";

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
  const body = h("div.story");
  fill(root, crumbs, head, body);
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
    fill(body, effects(story), timeline(story), check(story));
  };
  const isMine = (/** @type {{ incident?: string }} */ event) => event.incident === id;
  store.on("incident", (event) => isMine(event) && void load(), signal);
  store.on("action", (event) => isMine(event) && void load(), signal);
  store.on("services", (change) => change.isReset && void load(), signal);
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
      h("p", null, "Lasted ", h("b", { "data-age": "" }))),
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
  const threshold = story.events.find((event) => event.event === "opened")?.threshold ?? null;
  return h("section.box", null, h("h2", null, "Did it help?"), ...looked.map((chapter) => effect(chapter, threshold)));
}

/**
 * @param {Chapter} chapter
 * @param {number | null} threshold
 */
function effect({ title, tone, effect: sides }, threshold) {
  if (!sides) return "";
  const most = Math.max(sides.before[0] ?? 0, sides.after[0] ?? 0, threshold ?? 0) * 1.1 || 1;
  const bar = (/** @type {string} */ name, /** @type {[number | null, string]} */ [value, text]) => {
    const fillBar = h("span.bar-fill", { class: `bar-fill ${value !== null && threshold !== null && value > threshold ? "hot" : "cool"}` });
    fillBar.style.width = `${Math.max(0, (100 * (value ?? 0)) / most)}%`;
    const mark = h("span.bar-mark", { hidden: threshold === null });
    if (threshold !== null) mark.style.left = `${Math.max(0, (100 * threshold) / most)}%`;
    return h("div.bar", null, h("span.bar-name", null, name), h("span.bar-track", null, fillBar, mark), h("span", null, text));
  };
  return h("div.effect", null, h("p", { class: tone }, h("b", null, visible(title))), bar("before", sides.before), bar("after", sides.after));
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
      chapter.effect && h("p", null, `Before: ${chapter.effect.before[1]}. After: ${chapter.effect.after[1]}.`),
      chapter.evidence.length > 0 && h("details", null, h("summary", null, "Evidence"),
        h("dl.evidence", null, ...chapter.evidence.map(([name, value]) => h("div", null, h("dt", null, bdi(name)), h("dd", null, bdi(value, 200)))))))))));
}

/** @param {Story} story */
function check(story) {
  const record = story.events.find((event) => event.partition !== undefined);
  return h("section.box", null, h("h2", null, "Check it yourself"),
    h("p", null, "Compute it again from the log, and compare it with what was published:"),
    h("pre", { tabindex: 0, "aria-label": "Command" }, `ops explain ${visible(story.incident)}`),
    record && h("p", null, "The record as the vault keeps it:"),
    record && h("pre", { tabindex: 0, "aria-label": "Command" }, `ops dta show ops.incidents/${record.partition}/${record.offset}`));
}
