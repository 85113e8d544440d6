// @ts-check
// A status -> how it looks: one word, one shape, one colour, and how bad it is. What is not known is never green.
import { svg } from "./dom.js";

/** @typedef {import("./contract.d.ts").Status} Status */
/** @typedef {"breached" | "incident" | "recovering" | "pending" | "no_data" | "stale" | "insufficient" | "inactive" | "no_slo" | "healthy"} Look */

/** Worst first. @type {Look[]} */
export const LOOKS = [
  "breached", "incident", "recovering", "pending", "no_data", "stale", "insufficient", "inactive", "no_slo", "healthy",
];

/** The order of each look. @type {{ [look in Look]: number }} */
export const RANK = /** @type {any} */ (Object.fromEntries(LOOKS.map((look, index) => [look, index])));

/** @type {{ [look in Look]: { word: string, means: string } }} */
export const WORDS = {
  breached: { word: "breached", means: "the objective is missed: its incident is open" },
  incident: { word: "incident", means: "an incident of another cause than the objective is open" },
  recovering: { word: "recovering", means: "an incident is open, and its cause is clear for now" },
  pending: { word: "pending", means: "bad, for too short a time to be an incident" },
  no_data: { word: "no data", means: "the sensor is silent" },
  stale: { word: "stale", means: "the processor has not judged it lately" },
  insufficient: { word: "insufficient", means: "too few readings for a verdict" },
  inactive: { word: "inactive", means: "registered, and no processor has taken it up" },
  no_slo: { word: "no objective", means: "nothing says what would be good; no incident is open" },
  healthy: { word: "healthy", means: "the last verdict was good" },
};

/**
 * @param {Status} status
 * @returns {Look}
 */
export function lookOf(status) {
  const phases = status.state ?? [];
  const open = status.open_incidents ?? [];
  if (open.length || status.slo_state === "breached") {
    // An incident that no machine knows is taken for open.
    const isClear = (/** @type {string} */ cause) => phases.some((p) => p.cause === cause && p.phase === "recovering");
    const hot = open.filter((incident) => !isClear(incident.cause));
    if (!hot.length && open.length) return "recovering";
    return hot.some((incident) => incident.cause !== "slo") && status.slo_state !== "breached" ? "incident" : "breached";
  }
  switch (status.quality) {
    case "no_data": case "stale": case "insufficient": case "inactive":
      return status.quality;
    case "no_slo":
      return phases.some((phase) => phase.phase === "pending") ? "pending" : "no_slo";
    default:
      break;
  }
  if (phases.some((phase) => phase.phase === "pending")) return "pending";
  return status.slo_state === "healthy" && status.quality === "fresh" ? "healthy" : "stale";
}

/** Does somebody have to look? @param {Look} look */
export const isTrouble = (look) => RANK[look] <= RANK.pending;
/** Is it not known how it is? @param {Look} look */
export const isUnknown = (look) => RANK[look] > RANK.pending && look !== "healthy";

// One path a look, on a grid of 24. The outlines differ (octagon, triangle, arrow, clock ...), so that neither colour
// nor word is needed to tell them apart.
/** @type {{ [look in Look]: [string, "fill" | "line"] }} */
const SHAPES = {
  breached: ["M8 2h8l6 6v8l-6 6H8l-6-6V8zM8.6 7 7 8.600 10.4 12 7 15.400 8.600 17 12 13.600 15.400 17 17 15.400 13.600 12 17 8.600 15.400 7 12 10.400z", "fill"],
  incident: ["M12 2 23 21.500H1zM11 9v6h2V9zM11 16.500v2h2v-2z", "fill"],
  recovering: ["M12 2 20 11h-5v4H9v-4H4zM4 18h16v3H4z", "fill"],
  pending: ["M5 2h14v3l-5.500 7L19 19v3H5v-3l5.500-7L5 5zM8 4.800 12 10l4-5.200z", "fill"],
  no_data: ["M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM5.700 5.700l12.600 12.600", "line"],
  stale: ["M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 7v5.500h4.500", "line"],
  insufficient: ["M4 20v-3M9.300 20v-6M14.700 20v-3M20 20v-8", "line"],
  inactive: ["M8 5v14M16 5v14", "line"],
  no_slo: ["M4 12h16", "line"],
  healthy: ["M12 2a10 10 0 1 1 0 20 10 10 0 0 1 0-20zM10.500 17 18.200 8.700 16.600 7.200 10.400 13.900 7.300 11 5.800 12.600z", "fill"],
};

/**
 * The shape of a look. The word beside it is for readers, so it is hidden from them.
 * @param {Look} look
 */
export function shape(look) {
  const icon = svg("svg", { viewBox: "0 0 24 24", class: "shape", "aria-hidden": "true" });
  return setShape(icon, look);
}

/**
 * @param {SVGElement} icon
 * @param {Look} look
 */
export function setShape(icon, look) {
  const [path, kind] = SHAPES[look];
  icon.setAttribute("class", `shape shape-${kind}`);
  icon.replaceChildren(svg("path", { d: path, "fill-rule": "evenodd" }));
  return icon;
}
