// @ts-check
// Text of strangers, made harmless: what a name, a reason or a reading holds is shown, never obeyed. Used wherever
// something from the bus becomes text on the page; nothing on it is ever set as HTML.

/** So many characters of a text are shown where nothing else is said; the rest is in its title. */
const SHOWN = 120;
/** So much of a text goes into a title. */
const TITLE = 2000;

// What a reader would not see, or what would turn the text around it: controls, invisible and bidi characters, lone
// halves of surrogate pairs, and what no font has.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu;
// Marks that pile up above and below a letter, beyond what any language writes.
const PILE = /(\p{M}{4})\p{M}+/gu;

/**
 * The text with everything visible that it holds.
 * @param {unknown} text
 * @returns {string}
 */
export function visible(text) {
  const name = (/** @type {string} */ c) => `‹U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}›`;
  return String(text ?? "").replace(UNSEEN, name).replace(PILE, "$1…");
}

/**
 * The same for text of several lines: line breaks and tabs stay.
 * @param {unknown} text
 * @returns {string}
 */
export function visibleLines(text) {
  return String(text ?? "").split("\n").map((line) => line.split("\t").map(visible).join("\t")).join("\n");
}

/**
 * Cut to `limit` characters.
 * @param {string} text
 * @param {number} limit
 */
export function cut(text, limit) {
  if (text.length <= limit) return text;
  return `${[...text.slice(0, limit)].join("")}…`;
}

/**
 * A stranger's text as an element of its own: isolated from the direction of what is around it, cut, the rest as title.
 * @param {unknown} text
 * @param {number} [limit]
 * @returns {HTMLElement}
 */
export function bdi(text, limit = SHOWN) {
  return setBdi(document.createElement("bdi"), text, limit);
}

/**
 * The same for an element that is there.
 * @template {HTMLElement} E
 * @param {E} element
 * @param {unknown} text
 * @param {number} [limit]
 * @returns {E}
 */
export function setBdi(element, text, limit = SHOWN) {
  // A text of a megabyte is cut before it is looked at.
  const all = visible(String(text ?? "").slice(0, TITLE));
  const shown = cut(all, limit);
  if (element.textContent !== shown) element.textContent = shown;
  if (shown !== all) element.title = all;
  else if (element.title) element.title = "";
  return element;
}

/**
 * A stranger's text as one segment of a path; none if it would be taken as a step in the path.
 * @param {string} id
 * @returns {string | null}
 */
export function segment(id) {
  if (id === "" || id === "." || id === "..") return null;
  try {
    return encodeURIComponent(id);
  } catch {
    return null; // half of a surrogate pair
  }
}

/** @param {string} service */
export const serviceLink = (service) => `#/s/${segment(service) ?? ""}`;
/** @param {string} incident */
export const incidentLink = (incident) => `#/i/${segment(incident) ?? ""}`;
