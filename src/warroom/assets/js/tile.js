// @ts-check
// One tile of the wall: made once, then only what changed is set again.
import { h, say, svg } from "./dom.js";
import { about, clock, coarse, count, num, plural, share, words } from "./format.js";
import { setShape, shape, WORDS } from "./look.js";
import { deedWords } from "./deeds.js";
import { serviceLink, setBdi } from "./text.js";
import { paths } from "./trace.js";
import { waiting } from "./waiting.js";

/** @typedef {import("./store.js").Entry} Entry */
/** @typedef {import("./plan.js").Place} Place */

/** What stands beside a sparkline, and how high it is, in parts of the tile's height: see `wall.css`. */
const [BIG, SMALL] = [{ beside: 1.3, part: 0.25 }, { beside: 1.28, part: 0.234 }];

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
    this.line = svg("path", { class: "trace-line" });
    this.mark = svg("path", { class: "trace-mark" });
    this.canvas = svg("svg", { preserveAspectRatio: "none", class: "trace", "aria-hidden": "true" }, this.mark, this.line);
    /** What the sparkline is drawn on. */
    this.box = { width: 0, height: 0 };
    /** Was nothing drawn on it since it got this size? */
    this.isBoxNew = true;
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
    this.isStop = false;
    this.place = "";
    this.y = 0;
  }

  /**
   * Where it stands.
   * @param {Place} place
   */
  put({ x, y, width, height, isBig }) {
    const wanted = `${x}|${y}|${width}|${height}|${isBig}`;
    this.y = y;
    if (wanted !== this.place) {
      this.place = wanted;
      this.root.style.transform = `translate(${x}px, ${y}px)`;
      this.root.style.width = `${width}px`;
      this.root.style.height = `${height}px`;
      this.size(isBig ? BIG : SMALL, width, height);
    }
    if (isBig !== this.isBig) {
      this.isBig = isBig;
      this.root.classList.toggle("big", isBig);
    }
  }

  /**
   * The sparkline is drawn for about the size that it has, so that stretching it to that size bends nothing that is
   * seen. Asking for the size, or a stroke that does not scale, costs more than all else of a tile.
   * @param {{ beside: number, part: number }} shares
   * @param {number} width
   * @param {number} height
   */
  size({ beside, part }, width, height) {
    const box = { width: Math.max(20, Math.round(width - beside * height)), height: Math.round(part * height) };
    if (box.width === this.box.width && box.height === this.box.height) return;
    this.box = box;
    this.isBoxNew = true;
    this.canvas.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  }

  /** Is it the one that Tab stops at? @param {boolean} isStop */
  reach(isStop) {
    if (isStop === this.isStop) return;
    this.isStop = isStop;
    this.root.tabIndex = isStop ? 0 : -1;
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
    say(this.value, about(status.p95_estimate));
    say(this.limit, status.threshold === null ? "" : `limit ${num(status.threshold)}`);
    setBdi(this.doing, doingOf(entry, now), 90);
    this.doing.classList.toggle("asks", waiting.of(status.service).length > 0);
    this.tick(entry, now, asOf);
    this.draw(entry, now);
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
   * The sparkline.
   * @param {Entry} entry
   * @param {number} now
   */
  draw(entry, now) {
    const { line, mark } = paths(entry.trace, now, entry.status.threshold, this.box);
    this.isBoxNew = false;
    this.line.setAttribute("d", line);
    this.mark.setAttribute("d", mark);
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
  const [asked, ...more] = waiting.of(status.service);
  if (asked) return more.length ? `${count(more.length + 1)} actions wait for approval` : `${words(asked.verb)} waits for approval`;
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
