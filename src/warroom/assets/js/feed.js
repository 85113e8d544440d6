// @ts-check
// The readings of one sensor as a graph needs them: the past from the rollups, the live edge from the log.
import * as api from "./api.js";
import uPlot from "../vendor/uPlot.js";

/** @typedef {import("./contract.d.ts").Point} Point */

/** So many live readings are kept. */
const LIVE = 20_000;
/** So long after a refusal (the server is just starting) a live edge is asked for again, ms. */
const AGAIN_MS = 2_000;
/** A bucket that is further from the one before than this many of them is a gap. */
const GAP = 2.5;

export class Feed {
  /** @type {Point[]} */
  past = [];
  /** The live edge: when, what. @type {[number[], number[]]} */
  raw = [[], []];
  /** The exact p95 of the window, instant by instant. @type {[number[], (number | null)[]]} */
  exact = [[], []];
  /** @type {EventSource | null} */
  #source = null;

  /**
   * @param {string} service
   * @param {string} sensor
   * @param {() => void} onNews
   * @param {AbortSignal} signal
   */
  constructor(service, sensor, onNews, signal) {
    this.service = service;
    this.sensor = sensor;
    this.onNews = onNews;
    this.signal = signal;
    signal.addEventListener("abort", () => this.follow(false));
  }

  /**
   * Asks for the past.
   * @param {{ from: number, to: number, points: number }} stretch
   */
  async ask(stretch) {
    const { points } = await api.series(this.service, { sensor: this.sensor, ...stretch }, this.signal);
    this.past = points;
    this.onNews();
  }

  /** @param {boolean} isLive */
  follow(isLive) {
    if (isLive === (this.#source !== null)) return;
    this.#source?.close();
    this.#source = null;
    if (!isLive) return;
    this.#open();
  }

  #open() {
    const source = new EventSource(api.liveUrl(this.service, this.sensor));
    this.#source = source;
    // A line that breaks is taken up by the browser itself; after a refusal it never asks again.
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(() => this.#source === source && this.#open(), AGAIN_MS);
    });
    source.addEventListener("news", (event) => {
      /** @type {import("./contract.d.ts").LiveNews} */
      const { readings, windows } = JSON.parse(event.data);
      for (const { ts, value } of readings) insert(this.raw, ts, value);
      for (const { at, p95 } of windows) insert(this.exact, at, p95);
      this.onNews();
    });
  }

  /**
   * Times, then: least, greatest, mean, p95 of each bucket; each reading; p95 of the window.
   * @returns {uPlot.AlignedData}
   */
  table() {
    const past = withGaps(this.past);
    const column = (/** @type {"min" | "max" | "mean" | "p95_estimate"} */ name) => past.map((point) => point[name]);
    const rollups = /** @type {uPlot.AlignedData} */ ([
      past.map((point) => point.at), column("min"), column("max"), column("mean"), column("p95_estimate"),
    ]);
    return uPlot.join([rollups, this.raw, this.exact]);
  }
}

/**
 * Nearly all comes in order; what does not is put where it belongs.
 * @template V
 * @param {[number[], V[]]} table
 * @param {number} at
 * @param {V} value
 */
function insert([ats, values], at, value) {
  if (!Number.isFinite(at)) return;
  let place = ats.length;
  while (place > 0 && ats[place - 1] > at) place -= 1;
  if (place > 0 && ats[place - 1] === at) {
    values[place - 1] = value;
    return;
  }
  ats.splice(place, 0, at);
  values.splice(place, 0, value);
  if (ats.length > LIVE) {
    ats.splice(0, LIVE / 10);
    values.splice(0, LIVE / 10);
  }
}

/**
 * Where buckets are missing nothing is drawn: a line through silence would be invented.
 * @param {Point[]} points
 */
function withGaps(points) {
  const distances = points.slice(1).map((point, i) => point.at - points[i].at);
  const bucket = Math.min(...distances);
  /** @type {Point[]} */
  const found = [];
  points.forEach((point, i) => {
    if (i > 0 && distances[i - 1] > GAP * bucket) {
      found.push({ at: point.at - 1, n: 0, over: null, min: null, max: null, mean: null, p95_estimate: null });
    }
    found.push(point);
  });
  return found;
}
