// @ts-check
// One tile of the wall: made once, then only what changed is set again.
import { h, say } from "./dom.js";
import { clock, coarse, num, plural, share } from "./format.js";
import { setShape, shape, WORDS } from "./look.js";
import { deedWords } from "./deeds.js";
import { serviceLink, setBdi, visible } from "./text.js";
import { drawTrace } from "./trace.js";

/** @typedef {import("./store.js").Entry} Entry */
/** @typedef {import("./plan.js").Place} Place */

/** The colours of the sparkline and its threshold. */
const CALM = { line: "--spark", mark: "--mark" };
const ON_RED = { line: "--on-red", mark: "--soft-on-red" };

export class Tile {
  /** @param {string} key the service */
  constructor(key) {
    this.key = key;
    this.icon = shape("stale");
    this.word = h("span.word");
    this.since = h("span.since");
    this.name = h("bdi.name");
    this.owner = h("bdi.owner");
    this.value = h("span.value");
    this.limit = h("span.limit");
    this.canvas = h("canvas.trace", { "aria-hidden": "true" });
    this.doing = h("span.doing");
    this.age = h("span.age");
    this.root = h("a.tile", { href: serviceLink(key), tabindex: -1 },
      h("span.tile-top", null, this.icon, this.word, this.since),
      this.name, this.owner,
      h("span.tile-p95", null, this.value, h("span.limits", null, h("span.p95", null, "p95"), this.limit), this.canvas),
      h("span.tile-foot", null, this.doing, this.age));
    /** @type {import("./look.js").Look | null} */
    this.look = null;
    this.isBig = false;
    this.place = "";
    this.y = 0;
    /** Of the canvas, until the tile is given another size. @type {DOMRect | null} */
    this.box = null;
  }

  /**
   * Where it stands.
   * @param {Place} place
   */
  put({ x, y, width, height, isBig }) {
    const wanted = `${x}|${y}|${width}|${height}`;
    this.y = y;
    if (wanted !== this.place) {
      this.place = wanted;
      this.box = null;
      this.root.style.transform = `translate(${x}px, ${y}px)`;
      this.root.style.width = `${width}px`;
      this.root.style.height = `${height}px`;
    }
    if (isBig !== this.isBig) {
      this.isBig = isBig;
      this.box = null;
      this.root.classList.toggle("big", isBig);
    }
  }

  /**
   * What it says.
   * @param {Entry} entry
   * @param {number} now the server's clock, ms
   * @param {number | null} asOf the last word of the server, if the connection is gone
   */
  show(entry, now, asOf) {
    const { status, look } = entry;
    if (look !== this.look) {
      this.look = look;
      this.root.dataset.look = look;
      setShape(this.icon, look);
      say(this.word, WORDS[look].word);
    }
    setBdi(this.name, status.service, 80);
    setBdi(this.owner, status.owner, 60);
    say(this.value, num(status.p95_estimate));
    say(this.limit, status.threshold === null ? "" : `limit ${num(status.threshold)}`);
    const doing = doingOf(entry, now);
    setBdi(this.doing, doing, 90);
    this.tick(entry, now, asOf);
    this.root.setAttribute("aria-label", this.#label(entry, doing));
  }

  /**
   * What changes by time alone.
   * @param {Entry} entry
   * @param {number} now
   * @param {number | null} asOf
   */
  tick(entry, now, asOf) {
    say(this.since, entry.since === null ? pendingFor(entry) : coarse(now - entry.since));
    const age = entry.newest === null ? "" : `${coarse(now - entry.newest)} ago`;
    say(this.age, asOf === null ? age : `as of ${clock(asOf)}`);
  }

  /**
   * The sparkline. Apart from `show`, so that sizes are read once all tiles are written.
   * @param {Entry} entry
   * @param {number} now
   */
  draw(entry, now) {
    this.box ??= this.canvas.getBoundingClientRect();
    const { width, height } = this.box;
    const colors = entry.look === "breached" || entry.look === "incident" ? ON_RED : CALM;
    drawTrace(this.canvas, entry.trace, { now, threshold: entry.status.threshold, width, height, ...colors });
  }

  /**
   * What a reader says.
   * @param {Entry} entry
   * @param {string} doing
   */
  #label({ status, look }, doing) {
    const p95 = status.threshold === null ? "" : `, p95 ${num(status.p95_estimate)} of ${num(status.threshold)}`;
    return visible(`${status.service.slice(0, 200)}, ${WORDS[look].word}${p95}, ${status.owner.slice(0, 100)}, ${doing}`);
  }
}

/** @param {Entry} entry */
function pendingFor({ status, look }) {
  if (look !== "pending") return "";
  const held = status.state.filter((phase) => phase.phase === "pending").map((phase) => phase.held_ms);
  return coarse(Math.max(...held));
}

/**
 * What is being done, in one line: the last action, else what is known about the trouble.
 * @param {Entry} entry
 * @param {number} now
 */
function doingOf({ status, look, since }, now) {
  const [last] = status.last_actions;
  const isOfThis = last && (since === null ? now - last.at < 15 * 60_000 : last.at >= since);
  if (status.frozen) return `frozen by ${status.frozen.actor}`;
  if (isOfThis) return deedWords(last);
  const other = status.open_incidents.find((open) => open.cause !== "slo");
  if (other && status.slo_state !== "breached") return other.cause;
  if (since !== null && status.n) return `${share(status.over, status.n)} of ${status.n} over`;
  return UNKNOWN[look]?.(status) ?? "";
}

/** What is known where the verdict is not. @type {{ [look: string]: (status: import("./contract.d.ts").Status) => string }} */
const UNKNOWN = {
  no_data: () => "last reading",
  stale: () => "last reading",
  insufficient: (status) => (status.n === null ? "" : plural(status.n, "reading")),
  inactive: () => "no processor has it",
};
