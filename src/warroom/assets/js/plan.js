// @ts-check
// Which tile stands where: services -> sections -> rows of places. Pure arithmetic, so that 2,000 services cost a sort
// and the page only makes what is seen.
import { isTrouble, isUnknown, LOOKS, RANK } from "./look.js";

/** @typedef {import("./store.js").Entry} Entry */
/** @typedef {import("./look.js").Look} Look */
/** @typedef {{ title: string, id: string, entries: Entry[], isOwner: boolean }} Section */
/** @typedef {{ key: string, x: number, y: number, width: number, height: number, entry: Entry, isBig: boolean }} Place */
/** @typedef {{ key: string, y: number, height: number, section: Section }} Heading */
/** @typedef {{ y: number, height: number, heading: Heading | null, places: Place[] }} Row */
/** @typedef {{ rows: Row[], height: number, order: Place[] }} Plan */

/**
 * Those that the search leaves, worst first: by look, then the longest in trouble, then by name.
 * @param {Iterable<Entry>} entries
 * @param {{ text: string, look: Look | null }} search
 */
export function sorted(entries, search) {
  const words = search.text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (const entry of entries) {
    if (search.look && entry.look !== search.look) continue;
    if (words.every((word) => entry.sought.includes(word))) found.push(entry);
  }
  return found.sort(compare);
}

/**
 * @param {Entry} a
 * @param {Entry} b
 */
function compare(a, b) {
  if (a.look !== b.look) return RANK[a.look] - RANK[b.look];
  if (a.since !== b.since) return (a.since ?? Infinity) < (b.since ?? Infinity) ? -1 : 1;
  return byText(a.status.service, b.status.service);
}

// Not by locale: 2,000 comparisons by its rules take longer than a frame.
const byText = (/** @type {string} */ a, /** @type {string} */ b) => (a < b ? -1 : a > b ? 1 : 0);

/**
 * @param {Entry[]} entries sorted
 * @returns {Section[]}
 */
export function byState(entries) {
  /** @type {[string, string, (look: Look) => boolean][]} */
  const parts = [
    ["Needs attention", "trouble", isTrouble],
    ["Not known", "unknown", isUnknown],
    ["Healthy", "healthy", (look) => look === "healthy"],
  ];
  return parts
    .map(([title, id, is]) => ({ title, id, isOwner: false, entries: entries.filter((entry) => is(entry.look)) }))
    .filter((section) => section.entries.length);
}

/**
 * The owner with the worst service first.
 * @param {Entry[]} entries sorted
 * @returns {Section[]}
 */
export function byOwner(entries) {
  /** @type {Map<string, Entry[]>} */
  const owners = new Map();
  for (const entry of entries) {
    const of = owners.get(entry.status.owner);
    if (of) of.push(entry);
    else owners.set(entry.status.owner, [entry]);
  }
  return [...owners]
    .map(([owner, of]) => ({ title: owner, id: `owner:${owner}`, isOwner: true, entries: of }))
    .sort((a, b) => {
      const [worst, other] = [a.entries[0].look, b.entries[0].look];
      return RANK[worst] - RANK[other] || byText(a.title, b.title);
    });
}

/**
 * How many of a section look how, worst first.
 * @param {Section} section
 */
export function tally(section) {
  /** @type {Map<Look, number>} */
  const counts = new Map();
  for (const { look } of section.entries) counts.set(look, (counts.get(look) ?? 0) + 1);
  return LOOKS.filter((look) => counts.has(look)).map((look) => ({ look, count: counts.get(look) ?? 0 }));
}

/** Sizes in px. @typedef {{ width: number, gap: number, heading: number, big: { min: number, height: number }, small: { min: number, height: number } }} Measures */

/**
 * @param {Section[]} sections
 * @param {Measures} measures
 * @returns {Plan}
 */
export function plan(sections, measures) {
  /** @type {Plan} */
  const made = { rows: [], height: 0, order: [] };
  for (const section of sections) {
    const heading = { key: `h:${section.id}`, y: made.height, height: measures.heading, section };
    made.rows.push({ y: made.height, height: measures.heading, heading, places: [] });
    made.height += measures.heading;
    // Big tiles never share a row with small ones.
    const isBig = (/** @type {Entry} */ entry) => isTrouble(entry.look);
    lay(made, section.entries.filter(isBig), measures, true);
    lay(made, section.entries.filter((entry) => !isBig(entry)), measures, false);
    made.height += measures.gap;
  }
  return made;
}

/**
 * @param {Plan} made
 * @param {Entry[]} entries
 * @param {Measures} measures
 * @param {boolean} isBig
 */
function lay(made, entries, { width, gap, big, small }, isBig) {
  const { min, height } = isBig ? big : small;
  const columns = Math.max(1, Math.floor((width + gap) / (min + gap)));
  const one = (width - gap * (columns - 1)) / columns;
  for (let i = 0; i < entries.length; i += columns) {
    const places = entries.slice(i, i + columns).map((entry, column) => ({
      key: entry.status.service, x: column * (one + gap), y: made.height, width: one, height, entry, isBig,
    }));
    made.rows.push({ y: made.height, height, heading: null, places });
    made.order.push(...places);
    made.height += height + gap;
  }
}

/**
 * The rows that touch `[from, to]`, by bisection.
 * @param {Row[]} rows
 * @param {number} from
 * @param {number} to
 */
export function between(rows, from, to) {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].y + rows[middle].height < from) low = middle + 1;
    else high = middle;
  }
  let end = low;
  while (end < rows.length && rows[end].y <= to) end += 1;
  return rows.slice(low, end);
}

/**
 * The place that an arrow key leads to from place `at`.
 * @param {Plan} made
 * @param {number} at
 * @param {string} key
 */
export function step(made, at, key) {
  const last = made.order.length - 1;
  switch (key) {
    case "ArrowRight": return Math.min(at + 1, last);
    case "ArrowLeft": return Math.max(at - 1, 0);
    case "Home": return 0;
    case "End": return last;
    case "ArrowDown": case "ArrowUp": return vertical(made, at, key === "ArrowDown" ? 1 : -1);
    default: return null;
  }
}

/**
 * @param {Plan} made
 * @param {number} at
 * @param {1 | -1} way
 */
function vertical(made, at, way) {
  const here = made.order[at];
  const centre = here.x + here.width / 2;
  let best = at;
  /** @type {number | null} */
  let row = null;
  // The nearest of the next row: rows may have another number of columns.
  for (let i = at + way; i >= 0 && i < made.order.length; i += way) {
    const place = made.order[i];
    if (place.y === here.y) continue;
    row ??= place.y;
    if (place.y !== row) break;
    const off = (/** @type {Place} */ p) => Math.abs(p.x + p.width / 2 - centre);
    if (best === at || off(place) < off(made.order[best])) best = i;
  }
  return best;
}
