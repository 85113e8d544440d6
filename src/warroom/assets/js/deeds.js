// @ts-check
// Actions in words: what was asked, how far it got, and whether it helped.
import { words } from "./format.js";

/** @typedef {import("./contract.d.ts").ActionEvent} ActionEvent */
/** @typedef {import("./contract.d.ts").Deed} Deed */
/** @typedef {"good" | "bad" | "busy" | "calm"} Mood */

/** @type {{ [event: string]: { word: string, mood: Mood } }} */
const EVENTS = {
  waiting: { word: "asked for, not taken up yet", mood: "busy" },
  started: { word: "under way", mood: "busy" },
  done: { word: "done", mood: "good" },
  failed: { word: "failed", mood: "bad" },
  unknown: { word: "outcome unknown", mood: "bad" },
  suppressed: { word: "held back", mood: "calm" },
  awaiting: { word: "waits for approval", mood: "busy" },
  approved: { word: "approved, not taken up yet", mood: "busy" },
  rejected: { word: "denied by a human", mood: "calm" },
  denied: { word: "denied", mood: "calm" },
  expired: { word: "expired: nobody decided in time", mood: "bad" },
  verified: { word: "it helped", mood: "good" },
  ineffective: { word: "did not help", mood: "bad" },
  frozen: { word: "frozen", mood: "bad" },
  thawed: { word: "thawed", mood: "calm" },
};

/** @param {string} event */
export const eventWord = (event) => EVENTS[event]?.word ?? words(event);
/** @param {string} event @returns {Mood} */
export const eventMood = (event) => EVENTS[event]?.mood ?? "calm";

/** Is it about a human's word: asked for, given, or not given in time? @param {string} event */
export const waited = (event) => ["awaiting", "approved", "rejected", "denied", "expired"].includes(event);

/**
 * The human's word that counts: the first one on what was asked, in time.
 * @param {ActionEvent[]} events of one action, in order
 */
export function decisive(events) {
  const place = events.findIndex(({ event }) => event === "awaiting");
  if (place < 0) return undefined;
  const { hash: meant, expires_at: end = -Infinity } = events[place];
  return events.slice(place).find(({ event, hash, at }) => (event === "approved" || event === "rejected") && hash === meant && at <= end);
}

/**
 * An event in one line: "scale up: it helped", "page: held back (cool down)".
 * @param {ActionEvent} event
 */
export function deedWords(event) {
  const dry = event.dry_run ? " (dry run)" : "";
  const isHeld = event.event === "suppressed" || event.event === "denied";
  const why = isHeld && event.reason ? ` (${words(event.reason)})` : "";
  return `${words(event.verb)}: ${eventWord(event.event)}${why}${dry}`;
}

/**
 * What exactly: "compute=+2", "channel=tsa_ops, severity=critical"; the call's own arguments, not what came along.
 * @param {{ [name: string]: string } | null | undefined} args
 */
export function callWords(args) {
  return Object.entries(args ?? {})
    .filter(([name]) => !name.includes(".") && name !== "window_seconds")
    .map(([name, value]) => `${name}=${value}`)
    .join(", ");
}

/** @type {{ [basis: string]: string }} */
const BASES = {
  opened: "because the incident opened",
  resolved: "because the incident was resolved",
  fresh_data: "because fresh readings are bad too",
  insufficient_fresh_data: "because there are too few fresh readings to say that it got better",
};

/** @param {string | null | undefined} basis */
export const basisWords = (basis) => BASES[basis ?? ""] ?? words(basis);

/** @type {{ [actor: string]: string }} */
const GOALS = { from: "from", to: "to" };

/**
 * The few of an actor's facts that people look for: "from 2 to 4".
 * @param {{ [name: string]: string } | null | undefined} facts
 */
export function goalWords(facts) {
  if (!facts) return "";
  const first = Object.keys(GOALS).filter((name) => facts[name] !== undefined).map((name) => `${GOALS[name]} ${facts[name]}`);
  return first.join(" ");
}
