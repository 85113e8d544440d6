// @ts-check
// The graphs of a service: one a sensor, on one time axis that is chosen once.
import { chart, keyOf, rem } from "./chart.js";
import { eventMood, eventWord, waited } from "./deeds.js";
import { fill, h, onceAFrame, say } from "./dom.js";
import { count, moment, num, span, words } from "./format.js";
import { Feed } from "./feed.js";
import { ends, move, read, SPANS, write, zoom } from "./range.js";
import { store } from "./store.js";
import { bdi, serviceLink, visible } from "./text.js";
import { onTheme } from "./theme.js";

/** @typedef {import("./contract.d.ts").Detail} Detail */
/** @typedef {import("./contract.d.ts").Sensor} Sensor */
/** @typedef {{ sensor: Sensor, feed: Feed, plot: import("../vendor/uPlot.js"), scene: import("./chart.js").Scene, latest: HTMLElement, isNew: boolean }} Panel */

/** A browser opens six connections to a server; the page needs some for itself. */
const LIVE_AT_MOST = 3;
/** A longer stretch moves too slowly for single readings. */
const LIVE_SPAN_MS = 3_600_000;
/** The past is asked for again, as rollups come. */
const AGAIN_MS = 10_000;

export class Graphs {
  /** @type {Panel[]} */
  panels = [];
  #control = new AbortController();

  /**
   * @param {HTMLElement} root
   * @param {Detail} detail
   * @param {URLSearchParams} params
   * @param {AbortSignal} signal of the page
   */
  constructor(root, detail, params, signal) {
    this.detail = detail;
    this.window = detail.slo?.window_ms ?? 0;
    this.range = read(params, this.window);
    const stop = () => this.stop();
    signal.addEventListener("abort", stop);
    this.signal = this.#control.signal;
    this.tools = h("div.tools");
    this.said = h("span.note");
    this.failed = h("p.error", { hidden: true });
    fill(root, this.tools, this.failed);
    this.draw = onceAFrame(() => this.render());
    const target = detail.slo?.target;
    const sensors = detail.sensors.toSorted((a, b) => Number(b.name === target) - Number(a.name === target));
    if (!sensors.length) root.append(h("p.note", null, "Its spec names no sensor."));
    this.panels = sensors.map((sensor) => this.panel(root, sensor, sensor.name === target));
    this.listen(root);
    this.choose(this.range, false);
  }

  /** @param {HTMLElement} root */
  listen(root) {
    const sizes = new ResizeObserver(() => {
      for (const { plot } of this.panels) {
        const width = plot.root.parentElement?.clientWidth ?? 0;
        if (width && width !== plot.width) plot.setSize({ width, height: plot.height });
      }
    });
    sizes.observe(root);
    onTheme(() => this.panels.forEach(({ plot }) => plot.redraw(false, true)), this.signal);
    let ticks = 0;
    const timer = setInterval(() => {
      ticks += 1000;
      if (this.range.to !== null || document.hidden) return;
      this.draw();
      if (ticks % AGAIN_MS === 0) this.ask();
    }, 1000);
    this.signal.addEventListener("abort", () => {
      clearInterval(timer);
      sizes.disconnect();
      for (const { plot } of this.panels) plot.destroy();
    });
  }

  stop() {
    this.#control.abort();
  }

  /**
   * @param {HTMLElement} root
   * @param {Sensor} sensor
   * @param {boolean} isTarget
   * @returns {Panel}
   */
  panel(root, sensor, isTarget) {
    const place = h("div.plot");
    const readout = h("span.readout");
    const latest = h("span.latest");
    const key = h("p.key", null, ...keyOf(isTarget).map(([kind, text]) => h("span", null, h("i", { class: `key-${kind}` }), text)), latest, readout);
    const kind = sensor.is_event ? "event" : sensor.unit;
    root.append(h("div.panel", null,
      h("h2", null, bdi(sensor.name), h("small", null, ` ${kind}${isTarget ? ", judged by the objective" : ""}`)), place, key));
    const { slo } = this.detail;
    /** @type {import("./chart.js").Scene} */
    const scene = {
      threshold: isTarget && slo ? slo.threshold : null, window: isTarget && slo ? slo.window_ms : null, windowEnd: null,
      incidents: [], actions: [], now: () => store.now(),
    };
    const plot = chart(place, {
      unit: sensor.unit === "count" ? "" : sensor.unit, isTarget, scene, height: Math.round((isTarget ? 18 : 10.5) * rem()),
      label: visible(`Graph of ${sensor.name.slice(0, 100)}; the numbers of now stand above, the past in the incidents below`),
      onSelect: (from, to) => this.choose({ span: to - from, to }, true),
      onCursor: (text) => say(readout, text),
    });
    const panel = { sensor, plot, scene, latest, isNew: true, feed: new Feed(this.detail.service, sensor.name, () => {
      panel.isNew = true;
      this.draw();
    }, this.signal) };
    return panel;
  }

  /** The address changed. @param {URLSearchParams} params */
  update(params) {
    this.choose(read(params, this.window), false);
  }

  /** Asks for all of it again: something may have been missed. */
  refresh() {
    this.ask();
  }

  /**
   * @param {import("./range.js").Range} range
   * @param {boolean} isWritten into the address
   */
  choose(range, isWritten) {
    this.range = range;
    if (isWritten) history.replaceState(null, "", `${serviceLink(this.detail.service)}?${write(range)}`);
    const isLive = range.to === null && range.span <= LIVE_SPAN_MS;
    this.panels.forEach(({ feed }, i) => feed.follow(isLive && i < LIVE_AT_MOST));
    this.showTools();
    this.ask();
    this.draw();
  }

  showTools() {
    const { span: wide, to } = this.range;
    const now = () => store.now();
    const button = (/** @type {string} */ text, /** @type {string} */ title, /** @type {() => import("./range.js").Range} */ next) =>
      h("button", { type: "button", title, "aria-label": title, onclick: () => this.choose(next(), true) }, text);
    const focused = document.activeElement?.getAttribute("aria-label");
    fill(this.tools,
      h("span.segments", { role: "group", "aria-label": "How much is shown" }, ...SPANS.map((ms) => h("button", {
        type: "button", "aria-pressed": String(ms === wide), "aria-label": `The last ${span(ms)}`,
        onclick: () => this.choose({ span: ms, to: null }, true),
      }, span(ms)))),
      h("span.segments", { role: "group", "aria-label": "Move" },
        button("‹", "Earlier", () => move(this.range, -1, now())), button("›", "Later", () => move(this.range, 1, now())),
        button("+", "Closer", () => zoom(this.range, 0.5, now())), button("−", "Wider", () => zoom(this.range, 2, now()))),
      h("button", { type: "button", "aria-label": "Live", "aria-pressed": String(to === null), onclick: () => this.choose({ ...this.range, to: null }, true) }, "Live"),
      this.said);
    const stretch = ends(this.range, now());
    say(this.said, to === null ? "Drag over a graph to look closer" : `${moment(stretch.from)} to ${moment(stretch.to)}`);
    const again = [...this.tools.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused);
    again?.focus();
  }

  ask() {
    const { from, to } = ends(this.range, store.now());
    const points = Math.min(1000, Math.max(100, Math.round((this.panels[0]?.plot.width ?? 500) / 2)));
    // A little more on both sides, so that lines reach the edges.
    const more = (to - from) / 50 + 10_000;
    const asked = this.range;
    Promise.all(this.panels.map(({ feed }) => feed.ask({ from: from - more, to: to + more, points }))).then(
      () => {
        this.failed.hidden = true;
      },
      (error) => {
        if (this.signal.aborted || asked !== this.range) return;
        say(this.failed, `The past cannot be shown: ${error.message}`);
        this.failed.hidden = false;
      });
  }

  /**
   * What stands on the time axis.
   * @param {import("./contract.d.ts").IncidentLine[]} incidents
   * @param {import("./contract.d.ts").Deed[]} deeds
   */
  happened(incidents, deeds) {
    const spans = incidents.map(({ opened_at: from, ended_at: to }) => ({ from, to, isOpen: to === null }));
    const marks = deeds.flatMap(({ verb, events }) => {
      const event = events.findLast(({ event: name }) => name !== "verified" && name !== "ineffective");
      return event ? [{ at: event.at, text: event.event === "done" ? verb : `${verb}: ${waited(event.event) ? eventWord(event.event) : words(event.event)}`, isBad: eventMood(event.event) === "bad" }] : [];
    }).sort((a, b) => a.at - b.at);
    for (const { scene } of this.panels) Object.assign(scene, { incidents: spans, actions: marks });
    this.draw();
  }

  render() {
    if (this.signal.aborted) return;
    const { from, to } = ends(this.range, store.now());
    for (const panel of this.panels) {
      panel.scene.windowEnd = this.range.to === null && panel.scene.window !== null ? to : null;
      if (panel.isNew) {
        panel.isNew = false;
        panel.plot.setData(panel.feed.table(), false);
        say(panel.latest, newest(panel.feed.raw));
      }
      panel.plot.setScale("x", { min: from, max: to });
    }
  }
}

/** How many readings came over the live edge, and the last of them. @param {[number[], number[]]} raw */
function newest([ats, values]) {
  if (!ats.length) return "";
  return `${count(ats.length)} ${ats.length === 1 ? "reading" : "readings"} · latest ${num(values[ats.length - 1])}`;
}
