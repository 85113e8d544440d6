// @ts-check
// Dark and light, and the colours of the style sheet for what is drawn on a canvas.

const KEY = "ops-theme";
/** What the button goes through. @type {("auto" | "dark" | "light")[]} */
const THEMES = ["auto", "dark", "light"];
/** @type {Map<string, string>} */
const known = new Map();
/** @type {Set<() => void>} */
const listeners = new Set();
const system = matchMedia("(prefers-color-scheme: dark)");

function kept() {
  try {
    const theme = localStorage.getItem(KEY);
    return THEMES.find((one) => one === theme) ?? "auto";
  } catch {
    return "auto"; // storage is forbidden here
  }
}

let theme = kept();

function apply() {
  document.documentElement.dataset.theme = theme;
  known.clear();
  for (const listener of listeners) listener();
}

system.addEventListener("change", apply);
apply();

/** The theme that is chosen. */
export const chosen = () => theme;

/** Chooses the next one. */
export function next() {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // It holds for this page, then.
  }
  apply();
}

/**
 * Calls `listener` when colours change.
 * @param {() => void} listener
 * @param {AbortSignal} signal
 */
export function onTheme(listener, signal) {
  listeners.add(listener);
  signal.addEventListener("abort", () => listeners.delete(listener));
}

/**
 * A colour of the style sheet as a canvas understands it.
 * @param {string} name such as `--red`
 */
export function color(name) {
  let found = known.get(name);
  if (found === undefined) {
    // A custom property is text until something is painted with it.
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    found = getComputedStyle(probe).color;
    probe.remove();
    known.set(name, found);
  }
  return found;
}
