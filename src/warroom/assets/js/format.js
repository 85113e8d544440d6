// @ts-check
// Numbers, spans and times as people read them.

const NARROW = "\u202f";

/**
 * A measured value: four digits that count, no more.
 * @param {number | null | undefined} value
 */
export function num(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e7 || size < 1e-3)) return value.toExponential(1);
  if (size >= 1000) return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, NARROW);
  return String(Number(value.toPrecision(size < 1 ? 2 : 3)));
}

/**
 * A value that is estimated: "~31.2". What decides is never shown so.
 * @param {number | null | undefined} value
 */
export const about = (value) => (value === null || value === undefined || !Number.isFinite(value) ? "–" : `~${num(value)}`);

/**
 * A count, exactly.
 * @param {number | null | undefined} value
 */
export function count(value) {
  return value === null || value === undefined ? "–" : value.toString().replace(/\B(?=(\d{3})+$)/g, NARROW);
}

/**
 * How long: "8 s", "2 min 10 s", "3 h 5 min", "4 d 2 h".
 * @param {number | null | undefined} ms
 */
export function span(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (/** @type {number} */ a, /** @type {string} */ ua, /** @type {number} */ b, /** @type {string} */ ub) =>
    b ? `${a} ${ua} ${b} ${ub}` : `${a} ${ua}`;
  if (ms > 0 && ms < 1000) return `${Math.round(ms)} ms`;
  if (s < 60) return `${s} s`;
  if (s < 600) return two(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

/**
 * How long, as much as is seen from afar: "8 s", "2 min", "3 h", "4 d".
 * @param {number} ms
 */
export function coarse(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 86400 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

const pad = (/** @type {number} */ n, width = 2) => String(n).padStart(width, "0");

/**
 * The time of day, local.
 * @param {number | null | undefined} ms
 */
export function clock(ms) {
  const at = new Date(ms ?? NaN);
  if (Number.isNaN(at.getTime())) return "–";
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

/**
 * Date and time, local.
 * @param {number | null | undefined} ms
 */
export function moment(ms) {
  const at = new Date(ms ?? NaN);
  if (Number.isNaN(at.getTime())) return "–";
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock(ms)}`;
}

/**
 * Date and time in UTC, for what leaves the page.
 * @param {number | null | undefined} ms
 */
export function utc(ms) {
  const at = new Date(ms ?? NaN);
  return Number.isNaN(at.getTime()) ? "–" : at.toISOString();
}

/**
 * The share of readings over the threshold: "6.1 %".
 * @param {number | null | undefined} over
 * @param {number | null | undefined} n
 */
export function share(over, n) {
  if (over === null || over === undefined || !n) return "–";
  return `${((100 * over) / n).toFixed(1)} %`;
}

/**
 * A code of the bus as words: `cool_down` is "cool down".
 * @param {unknown} code
 */
export function words(code) {
  return String(code ?? "").replaceAll("_", " ");
}

/**
 * @param {number} n
 * @param {string} one
 * @param {string} [many]
 */
export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}
