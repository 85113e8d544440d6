// @ts-check
// An incident as a story: what happened, in order, each with its evidence. Pure; the page shows it and the export
// writes it down, so both say the same.
import { basisWords, callWords, eventMood, eventWord, goalWords } from "./deeds.js";
import { numbers, proof } from "./evidence.js";
import { count, num, span, words } from "./format.js";

/** @typedef {import("./contract.d.ts").Story} Story */
/** @typedef {import("./contract.d.ts").IncidentEvent} IncidentEvent */
/** @typedef {import("./contract.d.ts").ActionEvent} ActionEvent */
/** @typedef {"open" | "good" | "bad" | "busy" | "calm"} Tone */
/** @typedef {{ before: [number | null, string], after: [number | null, string] }} Effect */
/**
 * One thing that happened.
 * @typedef {object} Chapter
 * @property {number} at ms
 * @property {string} title
 * @property {string} text a sentence, or nothing
 * @property {Tone} tone
 * @property {[string, string][]} evidence
 * @property {Effect | null} effect
 */

/**
 * @param {Story} story
 * @returns {Chapter[]}
 */
export function tell(story) {
  const opened = story.events.find((event) => event.event === "opened");
  const threshold = opened?.threshold ?? null;
  const said = story.events.map((event) => ofIncident({ threshold, ...event }));
  const done = story.actions.flatMap((deed) => deed.events.map(ofAction));
  // What happened at the same moment stays in the order in which it was told: the cause before the effect.
  return [...said, ...done].sort((a, b) => a.at - b.at);
}

/** How it stands, in a few words. @param {Story} story */
export function outline({ events }) {
  const opened = events.find((event) => event.event === "opened");
  const end = events.find((event) => event.event === "resolved" || event.event === "closed");
  return {
    cause: opened?.cause ?? end?.cause ?? "",
    openedAt: opened?.at ?? end?.opened_at ?? null,
    endedAt: end?.at ?? null,
    end: end?.event ?? null,
    hash: opened?.spec_hash ?? events[0]?.spec_hash ?? "",
    isFlapping: opened?.flapping ?? false,
  };
}

/** @type {{ [event: string]: (event: IncidentEvent) => Partial<Chapter> & { title: string } }} */
const KINDS = {
  opened: (event) => ({
    title: `Opened: ${event.cause}`, tone: "open", text: proof(event, "of the window"),
    evidence: [...numbers(event), ["opening", `${count(event.openings)} of the episode ${event.episode}${event.flapping ? ", flapping" : ""}`]],
  }),
  requested: (event) => ({
    title: `Asked for: ${words(event.verb)} ${callWords(event.args)}`.trimEnd(), tone: "busy",
    text: `${sentence(basisWords(event.basis))} ${proof(event, "of the fresh readings")}`.trimEnd(),
    evidence: [["step", `${event.step}, call ${event.call} of the playbook`], ...numbers({ ...event, threshold: null }), ["action", event.action_id ?? ""]],
  }),
  resolved: (event) => ({
    title: "Resolved", tone: "good", text: `${sentence(`after ${span(event.at - (event.opened_at ?? event.at))}`)} ${proof(event, "of the window")}`.trimEnd(),
    evidence: numbers(event),
  }),
  closed: (event) => ({
    title: `Closed: ${words(event.reason)}`, tone: "calm", text: "It ends because its rules do, not because it is well.", evidence: [],
  }),
  no_data: () => ({ title: "No data", tone: "bad", text: "The sensor fell silent.", evidence: [] }),
  data_back: () => ({ title: "Data are back", tone: "calm", text: "", evidence: [] }),
  blind: (event) => ({ title: "Blind", tone: "bad", text: `The bus or the pipeline stood still for ${span((event.to ?? 0) - (event.from ?? 0))}: nothing was judged.`, evidence: [] }),
  episode_ended: (event) => ({ title: "Episode ended", tone: "calm", text: `Quiet after ${event.openings} openings.`, evidence: [] }),
};

/**
 * @param {IncidentEvent} event
 * @returns {Chapter}
 */
function ofIncident(event) {
  const known = KINDS[event.event]?.(event) ?? { title: words(event.event) };
  /** @type {[string, string][]} */
  const place = event.partition === undefined ? [] : [["record", `ops.incidents/${event.partition}/${event.offset}`]];
  return {
    at: event.at, text: "", tone: "calm", effect: null, ...known,
    evidence: [...(known.evidence ?? []), ...place, ["spec", event.spec_hash]],
  };
}

/**
 * @param {ActionEvent} event
 * @returns {Chapter}
 */
function ofAction(event) {
  const isEffect = event.event === "verified" || event.event === "ineffective";
  const goal = goalWords(event.goal ?? event.detail);
  const on = event.target ? ` on ${event.target}` : "";
  const dry = event.dry_run ? " (dry run)" : "";
  const reason = event.reason && !isEffect ? `: ${words(event.reason)}` : "";
  const why = event.detail?.why ? sentence(event.detail.why) : "";
  return {
    at: event.at, title: `${capital(words(event.verb))}: ${eventWord(event.event)}${reason}${dry}`, tone: eventMood(event.event),
    text: isEffect ? "Compared right before it and one window after." : `${sentence(`by ${event.actor}${on}${goal && `, ${goal}`}`)} ${why}`.trimEnd(),
    evidence: [
      ...Object.entries(event.goal ?? event.detail ?? {}), ...(event.attempt > 1 ? [/** @type {[string, string]} */ (["attempt", String(event.attempt)])] : []),
      ["action", event.action_id],
    ],
    effect: isEffect ? effectOf(event) : null,
  };
}

/** @param {ActionEvent} event @returns {Effect} */
function effectOf(event) {
  const side = (/** @type {number | null | undefined} */ p95, /** @type {number | null | undefined} */ over, /** @type {number | null | undefined} */ n) =>
    /** @type {[number | null, string]} */ ([p95 ?? null, n === null || n === undefined ? "not known" : `p95 ${num(p95)}, ${count(over)} of ${count(n)} over`]);
  return { before: side(event.before, event.before_over, event.before_n), after: side(event.after, event.after_over, event.after_n) };
}

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
/** @param {string} text */
const sentence = (text) => (text ? `${capital(text)}.` : "");
