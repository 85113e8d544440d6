// @ts-check
// Under an incident: computes it again from the log when asked to, and shows what the vault keeps of it.
import * as api from "./api.js";
import { fill, h, say, time } from "./dom.js";
import { count, moment, span, utc, words } from "./format.js";
import { bdi, visible } from "./text.js";

/** @typedef {import("./contract.d.ts").Explanation} Explanation */
/** @typedef {import("./contract.d.ts").Vaulted} Vaulted */

/** A line of `ops explain` is a name of so many characters, two spaces and what it says. */
const NAME = 10;

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
  const lines = text.flatMap((line) => line.split("\n")).filter((line) => line.trim());
  return [
    confirmed ? h("p.verdict.good", null, "Confirmed: computed again from the log, it is what was published, byte by byte.")
      : h("p.verdict.bad", null, "It differs: computed again from the log, it is not what was published. The lines below say where."),
    h("dl.explained", null, ...lines.map((line) => {
      const isNamed = line.slice(NAME, NAME + 2) === "  " && line[0] !== " ";
      return h("div", null, h("dt", null, isNamed ? words(line.slice(0, NAME).trim()) : ""), h("dd", null, bdi(isNamed ? line.slice(NAME + 2) : line, 1000)));
    })),
    evidence.length > 0 && h("details", { "data-key": "explained" }, h("summary", null, "Evidence as data"), table(evidence)),
  ];
}

/** Rows of whatever facts they have. @param {unknown[]} rows */
function table(rows) {
  const facts = rows.map((row) => (typeof row === "object" && row !== null ? Object.entries(row) : [["", row]]));
  const names = [...new Set(facts.flatMap((row) => row.map(([name]) => String(name))))];
  return grid(names, facts.map((row) => {
    const of = new Map(row.map(([name, value]) => [String(name), value]));
    return names.map((name) => bdi(fact(name, of.get(name)), 200));
  }));
}

/** A fact of a name as people read it: times are not numbers. @param {string} name @param {unknown} value */
const fact = (name, value) => (typeof value === "number" && value > 1e12 && /(^|_)(at|ts|from|to)$/.test(name) ? utc(value) : plain(value));

/** @param {unknown} value */
function plain(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/**
 * @param {string[]} names
 * @param {(Node | string)[][]} rows
 */
function grid(names, rows) {
  return h("div.scroll", { tabindex: 0, role: "region", "aria-label": "Table" }, h("table", null,
    h("thead", null, h("tr", null, ...names.map((name) => h("th", { scope: "col" }, bdi(words(name)))))),
    h("tbody", null, ...rows.map((cells) => h("tr", null, ...cells.map((cell, i) => h("td", { "data-name": words(names[i]) }, cell)))))));
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
function vaulted({ origin, entries, checkpoint }) {
  const facts = Object.entries(checkpoint ?? {}).map(([name, value]) => h("div", null, h("dt", null, bdi(words(name))), h("dd", null, bdi(plain(value), 200))));
  return [
    h("p.note", null, "Kept by ", bdi(origin), ", where nothing can be changed without being noticed."),
    entries.length ? grid(["At", "Event", "Record", "Position", "Command"], entries.map(({ topic, partition, offset, position, event, at }) => {
      const record = `${topic}/${partition}/${offset}`;
      return [time(at, moment(at), "local time"), bdi(words(event)), bdi(record), count(position), h("code", null, bdi(`ops dta show ${record}`))];
    })) : h("p.note", null, "Nothing of it has been archived yet."),
    facts.length > 0 && h("details", { "data-key": "checkpoint" }, h("summary", null, "The checkpoint they stand under"), h("dl.evidence", null, ...facts)),
  ];
}
