// @ts-check
// Lists of incidents and of actions, as tables that read well on a phone too.
import { basisWords, callWords, decisive, eventMood, eventWord, waited } from "./deeds.js";
import { h, time } from "./dom.js";
import { about, count, moment, num, share, span, words } from "./format.js";
import { shape } from "./look.js";
import { store } from "./store.js";
import { bdi, incidentLink, serviceLink } from "./text.js";

/** @typedef {import("./contract.d.ts").IncidentLine} IncidentLine */
/** @typedef {import("./contract.d.ts").Deed} Deed */

/**
 * @param {IncidentLine[]} incidents
 * @param {boolean} withService
 */
export function incidentRows(incidents, withService) {
  if (!incidents.length) return h("p.note", null, "None.");
  return table(["State", "Incident", "Cause", "Opened", "Lasted", "At its opening"], incidents.map((line) => [
    line.ended_at === null ? h("span.bad", null, shape("breached"), " open") : h("span.good", null, shape("healthy"), ` ${words(line.end)}`),
    h("span", null, h("a", { href: incidentLink(line.incident) }, bdi(line.incident)), line.flapping && h("small", null, " flapping"),
      withService && h("small", null, " ", h("a", { href: serviceLink(line.service) }, bdi(line.service)))),
    bdi(line.cause),
    time(line.opened_at, moment(line.opened_at), "local time"),
    span((line.ended_at ?? store.now()) - line.opened_at),
    line.n === null || line.n === undefined ? "" : `${share(line.over, line.n)} of ${count(line.n)} over ${num(line.threshold)}, p95 ${about(line.p95_estimate)}`,
  ]));
}

/** @param {Deed[]} deeds */
export function deedRows(deeds) {
  if (!deeds.length) return h("p.note", null, "Nothing was asked for, and nothing was done.");
  return table(["When", "Service", "Asked", "State", "Did it help?", "Incident"], deeds.map((deed) => {
    const at = deed.request?.at ?? deed.events[0]?.at ?? null;
    const dry = deed.events.some((event) => event.dry_run) ? " (dry run)" : "";
    const isSwitch = deed.state === "frozen" || deed.state === "thawed";
    return [
      h("span.nowrap", null, time(at, moment(at), "local time")),
      deed.service === "_ops" ? "all" : h("a", { href: serviceLink(deed.service) }, bdi(deed.service)),
      h("span", null, h("b", null, bdi(words(deed.verb))), " ", bdi(callWords(deed.request?.args)), deed.target && h("small", null, " on ", bdi(deed.target)),
        deed.request && h("small", null, ` ${basisWords(deed.request.basis)}`)),
      h("span", null, h("span", { class: eventMood(deed.state) }, `${eventWord(deed.state)}${dry}`), reasonOf(deed), wordOf(deed)),
      deed.effect ? h("span", { class: eventMood(deed.effect) }, eventWord(deed.effect)) : "",
      isSwitch ? "" : h("a", { href: incidentLink(deed.incident) }, bdi(deed.incident)),
    ];
  }));
}

/** Why it is as it is: a code, or for a human what stands behind it. @param {Deed} deed */
function reasonOf({ state, reason, events }) {
  const why = events.findLast((event) => event.event === state)?.why;
  // Whoever decided said so in words of their own: see below.
  if (!reason || (waited(state) && decisive(events))) return "";
  return h("small", null, ": ", bdi(words(reason)), why && ", ", why && bdi(why, 200),
    state === "awaiting" && h("span", null, " ", h("a", { href: "#/approvals" }, "Decide")));
}

/** A human's word on it, if there was one: whose, and why. @param {Deed} deed */
function wordOf({ events }) {
  const said = decisive(events);
  if (!said) return "";
  return h("small.said", null, `${said.event === "approved" ? "approved" : "denied"} by `, bdi(said.actor, 60), said.reason && ": ", said.reason && bdi(said.reason, 200));
}

/**
 * @param {string[]} names
 * @param {(Node | string)[][]} rows
 */
export function table(names, rows) {
  return h("div.scroll", { tabindex: 0, role: "region", "aria-label": "Table" }, h("table", null,
    h("thead", null, h("tr", null, ...names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", null, ...rows.map((cells) => h("tr", null, ...cells.map((cell, i) => h("td", { "data-name": names[i] }, cell)))))));
}

