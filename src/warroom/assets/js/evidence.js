// @ts-check
// The numbers by which something was decided, in words. Pure.
import { about, count, num, share, span } from "./format.js";

/** @typedef {{ n?: number | null, over?: number | null, rank?: number | null, threshold?: number | null, p95_estimate?: number | null }} Numbers */

/**
 * The whole proof in a sentence: two integers decide it.
 * @param {Numbers} numbers
 * @param {string} which "readings of the window", "fresh readings"
 */
export function proof({ n, over, rank, threshold }, which) {
  if (n === null || n === undefined || over === null || over === undefined) return "";
  const limit = threshold === null || threshold === undefined ? "the threshold" : num(threshold);
  const said = `${count(over)} of ${count(n)} ${which} (${share(over, n)}) were above ${limit}`;
  if (rank === null || rank === undefined) return `${said}.`;
  const allowed = n - rank;
  return over > allowed ? `${said}; more than ${count(allowed)} is a breach.` : `${said}; up to ${count(allowed)} is good.`;
}

/**
 * The numbers one by one, as they stand on the bus.
 * @param {Numbers & { window_from?: number | null, window_to?: number | null }} event
 * @returns {[string, string][]}
 */
export function numbers(event) {
  /** @type {[string, string][]} */
  const found = [];
  const add = (/** @type {string} */ name, /** @type {number | null | undefined} */ value, /** @type {(v: number) => string} */ say) => {
    if (value !== null && value !== undefined) found.push([name, say(value)]);
  };
  add("n", event.n, count);
  add("over", event.over, count);
  add("rank", event.rank, count);
  add("threshold", event.threshold, num);
  add("p95 (estimate)", event.p95_estimate, about);
  if (event.window_from !== null && event.window_from !== undefined && event.window_to) {
    found.push(["window", span(event.window_to - event.window_from)]);
  }
  return found;
}
