// @ts-check
// Elements, made in one line. Text is always text: there is no way here to set HTML, and no other file does.

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {{ [name: string]: string | number | boolean | null | undefined | ((event: any) => void) }} Props */

/**
 * `h("a.link", {href, onclick}, "text", child)`. Functions are listeners, `false`, `null` and `undefined` leave out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T | `${T}.${string}`} tag
 * @param {Props | null} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = /** @type {HTMLElementTagNameMap[T]} */ (document.createElement(name));
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, String(value));
  }
  element.append(...present(children));
  return element;
}

/**
 * @param {Child[]} children
 * @returns {(Node | string)[]}
 */
function present(children) {
  /** @type {(Node | string)[]} */
  const found = [];
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) {
      found.push(typeof child === "number" ? String(child) : child);
    }
  }
  return found;
}

/**
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

/**
 * Sets text only where it changes: a text that is set again costs a layout.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} name
 * @param {{ [name: string]: string }} attributes
 * @param {...SVGElement} children
 */
export function svg(name, attributes, ...children) {
  const element = /** @type {SVGElement} */ (document.createElementNS(SVG, name));
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * A time that says the whole when pointed at.
 * @param {number | null | undefined} ms
 * @param {string} text
 * @param {string} title
 */
export function time(ms, text, title) {
  const at = new Date(ms ?? NaN);
  return h("time", { datetime: Number.isNaN(at.getTime()) ? null : at.toISOString(), title }, text);
}

/**
 * At once, and while it is asked for again, once every so often.
 * @param {() => void} act
 * @param {number} pause ms
 * @param {AbortSignal} signal ends it
 */
export function atMost(act, pause, signal) {
  let isAsked = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const run = () => {
    act();
    timer = setTimeout(() => {
      timer = undefined;
      if (!isAsked) return;
      isAsked = false;
      run();
    }, pause);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  return () => {
    if (timer === undefined) run();
    else isAsked = true;
  };
}

/**
 * The next frame, once, however often it is asked for until then.
 * @param {() => void} draw
 */
export function onceAFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
