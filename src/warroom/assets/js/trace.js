// @ts-check
// The last minutes of one number: what came by the stream, and before that what the rollups say. Drawn as a sparkline.

/** How far back it goes, ms. */
export const TRACE_MS = 10 * 60_000;
/** So many points are kept; a nearer one takes the place of the last. */
const POINTS = 64;
const SPACING_MS = TRACE_MS / (POINTS - 2);

export class Trace {
  at = new Float64Array(POINTS);
  value = new Float32Array(POINTS);
  length = 0;
  /** Were the rollups asked? */
  isSeeded = false;

  /**
   * @param {number} at ms
   * @param {number | null} value null: not known then
   */
  push(at, value) {
    const last = this.length - 1;
    if (last >= 0 && at < this.at[last]) return;
    const isNear = last >= 1 && at - this.at[last - 1] < SPACING_MS;
    if (!isNear && this.length === POINTS) {
      this.at.copyWithin(0, 1);
      this.value.copyWithin(0, 1);
      this.length -= 1;
    }
    const place = isNear ? last : this.length;
    if (!isNear) this.length += 1;
    this.at[place] = at;
    this.value[place] = value ?? NaN;
  }

  /**
   * Puts the past before what is known.
   * @param {import("./contract.d.ts").Point[]} points
   */
  seed(points) {
    const first = this.length ? this.at[0] : Infinity;
    const now = Array.from({ length: this.length }, (_, i) => /** @type {[number, number]} */ ([this.at[i], this.value[i]]));
    this.length = 0;
    for (const point of points) if (point.at < first - SPACING_MS / 2) this.push(point.at, point.p95_estimate);
    for (const [at, value] of now) this.push(at, value);
  }
}

/** Between the line and the edge of what it is drawn on, px. */
const EDGE = 2;

/**
 * The sparkline up to `now`, and its threshold, as paths of SVG.
 * @param {Trace} trace
 * @param {number} now
 * @param {number | null} threshold
 * @param {{ width: number, height: number }} box what it is drawn on, px
 * @returns {{ line: string, mark: string }}
 */
export function paths(trace, now, threshold, { width, height }) {
  const { low, high } = reach(trace, now - TRACE_MS, threshold);
  const x = (/** @type {number} */ at) => (((at - now + TRACE_MS) / TRACE_MS) * width).toFixed(1);
  const y = (/** @type {number} */ value) => (height - EDGE - ((value - low) / (high - low)) * (height - 2 * EDGE)).toFixed(1);
  let line = "";
  let isDown = false;
  for (let i = 0; i < trace.length; i++) {
    const isKnown = !Number.isNaN(trace.value[i]);
    if (isKnown) line += `${isDown ? "L" : "M"}${x(trace.at[i])} ${y(trace.value[i])}`;
    isDown = isKnown;
  }
  return { line, mark: threshold === null ? "" : `M0 ${y(threshold)}H${width}` };
}

/**
 * The values that the height shows: the threshold is always among them.
 * @param {Trace} trace
 * @param {number} from
 * @param {number | null} threshold
 */
function reach(trace, from, threshold) {
  let low = threshold ?? Infinity;
  let high = threshold ?? -Infinity;
  for (let i = 0; i < trace.length; i++) {
    const value = trace.value[i];
    if (trace.at[i] >= from && !Number.isNaN(value)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (!(high > low)) return Number.isFinite(low) ? { low: low - 1, high: low + 1 } : { low: 0, high: 1 };
  // Nothing that is positive is drawn as if it began at its least value, unless that is far from 0.
  if (low > 0 && low < high / 2) low = 0;
  return { low, high };
}
