// @ts-check
// The page of one service: how it is and why, its graphs, what is done about it, and by which rules it is judged.
import * as api from "./api.js";
import { deedWords } from "./deeds.js";
import { fill, h, time } from "./dom.js";
import { proof } from "./evidence.js";
import { about, clock, coarse, count, moment, num, plural, span, words } from "./format.js";
import { control } from "./freeze.js";
import { Graphs } from "./graphs.js";
import { incidentRows } from "./lists.js";
import { lookOf, shape, WORDS } from "./look.js";
import { store } from "./store.js";
import { bdi, incidentLink, visibleLines } from "./text.js";

/** @typedef {import("./contract.d.ts").Status} Status */
/** @typedef {import("./contract.d.ts").Detail} Detail */
/** @typedef {import("./router.js").Route} Route */

/**
 * @param {HTMLElement} root
 * @param {Route} route
 * @param {AbortSignal} signal
 */
export function mount(root, route, signal) {
  const { id } = route;
  const head = h("div.title");
  const facts = h("dl.facts");
  const frozen = h("div.freeze");
  const graphs = h("section.graphs", { "aria-label": "Graphs" });
  const incidents = h("section.box");
  const rest = h("div.columns");
  fill(root, h("nav.crumbs", { "aria-label": "You are here" }, h("a", { href: "#/" }, "Wall"), " › ", bdi(id)), head, facts, frozen, graphs, incidents, rest);
  /** @type {Graphs | null} */
  let drawn = null;
  /** @type {Detail | null} */
  let detail = null;

  const show = () => {
    const status = store.services.get(id)?.status ?? detail;
    if (!status) return;
    showHead(head, status);
    showFacts(facts, status, detail);
    const key = JSON.stringify(status.frozen);
    if (frozen.dataset.key !== key) {
      frozen.dataset.key = key;
      fill(frozen, control(status.frozen, id));
    }
  };
  const tell = async () => {
    const { incidents: found } = await api.incidents({ service: id, limit: 200 }, signal);
    const { actions } = await api.actions({ service: id, limit: 200 }, signal);
    drawn?.happened(found, actions);
    fill(incidents, h("h2", null, "Incidents"), incidentRows(found.slice(0, 20), false));
  };
  const load = async () => {
    try {
      const known = await api.service(id, signal);
      const isNew = !detail || known.registered.hash !== detail.registered.hash;
      detail = known;
      show();
      if (isNew) {
        drawn?.stop();
        drawn = new Graphs(graphs, known, route.params, signal);
      } else {
        drawn?.refresh();
      }
      fill(rest, rules(known), rejected(known), targets(known));
      await tell();
    } catch (error) {
      if (!signal.aborted && !detail) refuse(head, id, error);
    }
  };
  const isMine = (/** @type {{ service: string }} */ event) => event.service === id;
  store.on("services", (/** @type {import("./store.js").Change} */ change) => {
    if (change.isReset || change.moved.includes(id)) void load();
    else if (change.ids.includes(id)) show();
  }, signal);
  store.on("incident", (event) => isMine(event) && void load(), signal);
  store.on("action", (event) => isMine(event) && void tell().catch(() => {}), signal);
  const timer = setInterval(show, 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  if (store.isKnown) void load();
  else fill(head, h("p.empty", null, "Loading ..."));
  return (/** @type {Route} */ next) => drawn?.update(next.params);
}

/**
 * @param {HTMLElement} head
 * @param {string} id
 * @param {unknown} error
 */
function refuse(head, id, error) {
  const text = error instanceof api.Refused && error.status === 404 ? "There is no service of that name." : String(error instanceof Error ? error.message : error);
  fill(head, h("h1", null, bdi(id)), h("p.error", null, text));
}

/**
 * @param {HTMLElement} head
 * @param {Status} status
 */
function showHead(head, status) {
  const look = lookOf(status);
  const key = `${look}|${status.owner}|${status.open_incidents.map((open) => open.incident)}`;
  const ages = head.querySelectorAll("[data-since]");
  for (const age of ages) age.textContent = span(store.now() - Number(/** @type {HTMLElement} */ (age).dataset.since));
  if (head.dataset.key === key) return;
  head.dataset.key = key;
  document.title = `${WORDS[look].word}: ${status.service.slice(0, 60)}`;
  const open = status.open_incidents.map((incident) => h("p", null,
    "Incident ", h("a", { href: incidentLink(incident.incident) }, bdi(incident.incident)), " (", bdi(incident.cause), ") open for ",
    h("b", { "data-since": incident.opened_at }, span(store.now() - incident.opened_at))));
  fill(head,
    h("p.badge", { "data-look": look, title: WORDS[look].means }, shape(look), " ", WORDS[look].word),
    h("div", null, h("h1", null, bdi(status.service)), h("p.of", null, "owned by ", bdi(status.owner))),
    h("div.open", null, ...open));
}

/**
 * @param {HTMLElement} list
 * @param {Status} status
 * @param {Detail | null} detail
 */
function showFacts(list, status, detail) {
  const unit = detail?.sensors.find((sensor) => sensor.name === detail.slo?.target)?.unit ?? "";
  const fact = (/** @type {string} */ name, /** @type {string} */ value, note = "", kind = "") =>
    h("div", { class: kind || null }, h("dt", null, name), h("dd", null, value, note && h("small", null, note)));
  const newest = store.services.get(status.service)?.newest ?? null;
  const [last] = status.last_actions;
  const entries = [];
  if (status.threshold !== null) {
    entries.push(fact("p95 (estimate)", about(status.p95_estimate), ` ${unit === "count" ? "" : unit}, limit ${num(status.threshold)}`, "wide"));
    entries.push(fact("Why", proof(status, `readings of the last ${span(status.window_ms)}`) || "no readings in the window", "", "why"));
  }
  entries.push(fact("Newest reading", newest === null ? "none" : `${coarse(store.now() - newest)} ago`));
  entries.push(fact("Judged until", status.as_of === null ? "never" : clock(status.as_of)));
  if (status.late) entries.push(fact("Late", count(status.late)));
  entries.push(fact("Last action", last ? deedWords(last) : "none in 24 h", last ? ` at ${clock(last.at)}` : ""));
  const held = status.state.filter((phase) => phase.phase !== "healthy");
  if (held.length) entries.push(fact("Causes", held.map((phase) => `${phase.cause}: ${phase.phase}${phase.held_ms ? ` for ${span(phase.held_ms)}` : ""}`).join("; ")));
  // Rewritten only when something changed, so that a selection by hand stays.
  const key = entries.map((entry) => entry.textContent).join("\n");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  fill(list, ...entries);
}

/** @param {Detail} detail */
function rules({ registered, explained }) {
  return h("section.box.rules", null,
    h("h2", null, "The rules"),
    h("p.note", null, "Registered ", time(registered.registered_at, moment(registered.registered_at), "local time"), " by ", bdi(registered.by), ", hash ", h("code", { title: registered.hash }, registered.hash.slice(0, 12))),
    h("div.two", null,
      h("div", null, h("h3", null, "As written"), h("pre", { tabindex: 0, "aria-label": "The spec as registered" }, visibleLines(registered.text))),
      h("div", null, h("h3", null, "What it means"), h("pre.plain", { tabindex: 0, "aria-label": "The spec in plain words" }, visibleLines(explained.join("\n"))))));
}

/** @param {Detail} detail */
function rejected({ rejected: reasons, last_rejected: last }) {
  const known = Object.entries(reasons);
  if (!known.length) return h("section.box", null, h("h2", null, "Rejected readings"), h("p.note", null, "None in the last hour."));
  const total = known.reduce((sum, [, n]) => sum + n, 0);
  return h("section.box", null,
    h("h2", null, "Rejected readings"),
    h("p.note", null, `${plural(total, "reading")} in the last hour`),
    h("ul", null, ...known.map(([reason, n]) => h("li", null, `${count(n)} `, bdi(words(reason))))),
    last && h("p", null, `The last at ${moment(last.at)}, partition ${last.partition}, offset ${last.offset}: ${words(last.reason)}`),
    last && h("pre", { tabindex: 0, "aria-label": "The rejected reading" }, bdi(last.sample, 400)));
}

/** @param {Detail} detail */
function targets({ targets: known, sensors }) {
  if (!known?.length) {
    const scraped = sensors.filter((sensor) => sensor.scrape_url);
    return h("section.box", null, h("h2", null, "Targets"),
      h("p.note", null, scraped.length ? "Nothing is known yet of the targets that are scraped." : "Nothing is scraped: readings come by Kafka."));
  }
  return h("section.box", null, h("h2", null, "Targets"),
    h("ul.targets", null, ...known.map((target) => h("li", null,
      h("b", { class: target.state === "up" ? "good" : "bad" }, words(target.state ?? "unknown")), " ", bdi(target.url, 100),
      target.reason && h("span", null, ": ", bdi(target.reason, 200)), target.at && h("small", null, ` at ${clock(target.at)}`)))));
}
