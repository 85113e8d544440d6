// @ts-check
// Which stretch of time a graph shows. It stands in the address, so that a link shows the same. Pure.

/** A stretch: the last `span` ms up to now (`to` null), or up to a moment. @typedef {{ span: number, to: number | null }} Range */

const MINUTE = 60_000;
/** What there are buttons for. */
export const SPANS = [5 * MINUTE, 15 * MINUTE, 60 * MINUTE, 360 * MINUTE, 1440 * MINUTE, 10_080 * MINUTE];
/** Less than two cuts of the rollups says nothing; more than they are kept is empty. */
const [LEAST, MOST] = [30_000, 90 * 1440 * MINUTE];
const FIRST = 15 * MINUTE;

/**
 * @param {URLSearchParams} params
 * @returns {Range}
 */
export function read(params) {
  const from = Number(params.get("from") ?? NaN);
  const to = Number(params.get("to") ?? NaN);
  if (from > 0 && to > from && Number.isFinite(to)) return { span: bound(to - from), to };
  const span = Number(params.get("span") ?? NaN) * 1000;
  return { span: span > 0 ? bound(span) : FIRST, to: null };
}

/** @param {number} span */
const bound = (span) => Math.min(MOST, Math.max(LEAST, span));

/**
 * @param {Range} range
 * @returns {URLSearchParams}
 */
export function write({ span, to }) {
  if (to === null) return new URLSearchParams({ span: String(Math.round(span / 1000)) });
  return new URLSearchParams({ from: String(Math.round(to - span)), to: String(Math.round(to)) });
}

/**
 * @param {Range} range
 * @param {number} now
 */
export function ends({ span, to }, now) {
  const end = to ?? now;
  return { from: end - span, to: end };
}

/**
 * Half a stretch earlier (-1) or later (1); what reaches now is live again.
 * @param {Range} range
 * @param {-1 | 1} way
 * @param {number} now
 * @returns {Range}
 */
export function move({ span, to }, way, now) {
  const end = (to ?? now) + (way * span) / 2;
  return { span, to: end >= now ? null : end };
}

/**
 * Twice (2) or half (0.5) as much, about the same middle; what is live stays live.
 * @param {Range} range
 * @param {number} factor
 * @param {number} now
 * @returns {Range}
 */
export function zoom({ span, to }, factor, now) {
  const wide = bound(span * factor);
  if (to === null) return { span: wide, to };
  const end = to + (wide - span) / 2;
  return { span: wide, to: end >= now ? null : end };
}
