// @ts-check
// Under an incident: computes it again from the log when asked to, and shows what the vault keeps of it.
import * as api from "./api.js";
import { fill, h, say, time } from "./dom.js";
import { count, moment, span, words } from "./format.js";
import { table } from "./lists.js";
import { bdi, visible, visibleLines } from "./text.js";

/** @typedef {import("./contract.d.ts").Explanation} Explanation */
/** @typedef {import("./contract.d.ts").Vaulted} Vaulted */

/** Of a difference so much is shown, in characters. */
const DIFFERENCE = 20_000;

/**
 * The button and what comes of it. Lives as long as the page: a story that grows does not take the answer away.
 * @param {string} id
 * @param {AbortSignal} signal
 */
export function explainer(id, signal) {
  const button = h("button", { type: "button", id: "explain" }, "Explain");
  const state = h("p.explain-state", { role: "status" });
  const result = h("div");
  /** @type {AbortController | null} */
  let running = null;
  const run = async () => {
    running = new AbortController();
    const since = performance.now();
    const passed = h("span");
    const tick = () => say(passed, ` ${span(Math.floor((performance.now() - since) / 1000) * 1000)}`);
    const timer = setInterval(tick, 1000);
    say(button, "Stop");
    fill(result);
    fill(state, h("progress", { "aria-label": "Computing" }), " The log is read and judged again ...", passed);
    try {
      const explanation = await api.explain(id, AbortSignal.any([signal, running.signal]));
      fill(state);
      fill(result, ...shown(explanation));
    } catch (error) {
      if (running.signal.aborted) fill(state, "Stopped.");
      else if (!signal.aborted) fill(state, h("span.error", null, `It cannot be computed again now: ${error instanceof Error ? error.message : error}`));
    } finally {
      clearInterval(timer);
      running = null;
      say(button, "Explain");
    }
  };
  button.addEventListener("click", () => running ? running.abort() : void run());
  return h("div.explain", null,
    h("p", null, "Compute it again from the log, and compare it with what was published: ", button),
    state, result, h("p.note", null, "The same in a terminal:"),
    h("pre", { tabindex: 0, "aria-label": "Command" }, `ops explain ${visible(id)}`));
}

/** @param {Explanation} explanation */
function shown({ confirmed, text, evidence }) {
  // What follows the last fact says where it differs.
  const where = text.findLastIndex((line) => line.startsWith("differs"));
  const difference = where < 0 ? [] : text.slice(where + 1);
  return [
    confirmed ? h("p.verdict.good", null, "Confirmed: computed again from the log, it is what was published, byte by byte.")
      : h("p.verdict.bad", null, "It differs: computed again from the log, it is not what was published."),
    difference.length > 0 && h("pre", { tabindex: 0, "aria-label": "The difference" }, visibleLines(difference.join("\n").slice(0, DIFFERENCE))),
    h("dl.explained", null, ...evidence.map((fact) => h("div", null, h("dt", null, bdi(words(fact.name))), h("dd", null, bdi(fact.text, 1000))))),
  ];
}

/** @param {unknown} value */
function plain(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/**
 * What the vault keeps of it; nothing where the server has no vault to look into.
 * @param {string} id
 * @param {AbortSignal} signal
 */
export function vaultBox(id, signal) {
  const box = h("section.box", { hidden: true });
  const load = async () => {
    try {
      const kept = await api.vault(id, signal);
      const key = JSON.stringify({ ...kept, now: 0 });
      if (box.dataset.key === key) return;
      box.dataset.key = key;
      fill(box, h("h2", null, "In the vault"), ...vaulted(kept));
      box.hidden = false;
    } catch (error) {
      const isNone = error instanceof api.Refused && error.kind === "no_vault";
      if (signal.aborted || isNone) return;
      fill(box, h("h2", null, "In the vault"), h("p.note", null, `What the vault keeps cannot be shown: ${error instanceof Error ? error.message : error}`));
      box.hidden = false;
    }
  };
  return { box, load };
}

/** @param {Vaulted} kept */
function vaulted({ origin, entries, checkpoint, damage = [] }) {
  const facts = Object.entries(checkpoint ?? {}).map(([name, value]) => h("div", null, h("dt", null, bdi(words(name))), h("dd", null, bdi(plain(value), 200))));
  return [
    h("p.note", null, "Kept by ", bdi(origin), ", byte for byte."),
    damage.length > 0 && h("p.error", null, "Something may be missing, for not all of it could be read: ", bdi(damage.join("; "), 400)),
    entries.length ? table(["At", "Event", "Record", "Position", "Command"], entries.map(({ topic, partition, offset, position, event, at }) => {
      const record = `${topic}/${partition}/${offset}`;
      return [time(at, moment(at), "local time"), bdi(words(event)), bdi(record), count(position), h("code", null, bdi(`ops dta show ${record}`))];
    })) : h("p.note", null, "Nothing of it has been archived yet."),
    facts.length > 0 && h("details", { "data-key": "checkpoint" }, h("summary", null, "The checkpoint they stand under"), h("dl.evidence", null, ...facts)),
  ];
}
