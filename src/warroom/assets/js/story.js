// @ts-check
// An incident as a story: what happened, in order, each with its evidence. Pure; the page shows it and the export
// writes it down, so both say the same.
import { basisWords, callWords, eventMood, eventWord, goalWords } from "./deeds.js";
import { numbers, proof } from "./evidence.js";
import { about, count, share, span, words } from "./format.js";

/** @typedef {import("./contract.d.ts").Story} Story */
/** @typedef {import("./contract.d.ts").IncidentEvent} IncidentEvent */
/** @typedef {import("./contract.d.ts").ActionEvent} ActionEvent */
/** @typedef {"open" | "good" | "bad" | "busy" | "calm"} Tone */
/** The share of readings that were over, which decides, and the numbers in words. @typedef {{ part: number | null, text: string }} Side */
/** @typedef {{ before: Side, after: Side, isGood: boolean }} Effect */
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
    title: `Opened: ${event.cause}`, tone: "open", text: proof(event, "readings of the window"),
    evidence: [...numbers(event), ["opening", `${count(event.openings)} of the episode ${event.episode}${event.flapping ? ", flapping" : ""}`]],
  }),
  requested: (event) => ({
    title: `Asked for: ${words(event.verb)} ${callWords(event.args)}`.trimEnd(), tone: "busy",
    text: `${sentence(basisWords(event.basis))} ${proof(event, "fresh readings")}`.trimEnd(),
    evidence: [["step", `${event.step}, call ${event.call} of the playbook`], ...numbers({ ...event, threshold: null }), ["action", event.action_id ?? ""]],
  }),
  resolved: (event) => ({
    title: "Resolved", tone: "good", text: `${sentence(`after ${span(event.at - (event.opened_at ?? event.at))}`)} ${proof(event, "readings of the window")}`.trimEnd(),
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
  // A human's reason is a sentence of theirs; all others are codes.
  const isWord = event.event === "approved" || event.event === "rejected" || event.event === "denied";
  const reason = event.reason && !isEffect && !isWord ? `: ${words(event.reason)}` : "";
  const title = `${capital(words(event.verb))}: ${STORY_WORDS[event.event] ?? eventWord(event.event)}${reason}${dry}`;
  const said = [sentence(`by ${event.actor}${on}${goal && `, ${goal}`}`)];
  if (event.why ?? event.detail?.why) said.push(sentence(event.why ?? event.detail?.why ?? ""));
  if (isWord && event.reason) said.push(`Reason: “${event.reason}”.`);
  if (event.event === "awaiting" && event.expires_at) said.push(`It waits ${span(event.expires_at - event.at)} for a human's word.`);
  /** @type {[string, string][]} */
  const more = [];
  if (event.attempt > 1) more.push(["attempt", String(event.attempt)]);
  if (event.hash) more.push(["hash", event.hash]);
  return {
    at: event.at, title, tone: eventMood(event.event),
    text: isEffect ? "The readings right before it, and those of one window after." : said.join(" "),
    evidence: [...Object.entries(event.goal ?? event.detail ?? {}), ...more, ["action", event.action_id]],
    effect: isEffect ? effectOf(event) : null,
  };
}

/** What a human's word is in a story: there it was said, and is not how things stand now. @type {{ [event: string]: string }} */
const STORY_WORDS = { approved: "approved by a human" };

/** @param {ActionEvent} event @returns {Effect} */
function effectOf(event) {
  const side = (/** @type {number | null | undefined} */ p95, /** @type {number | null | undefined} */ over, /** @type {number | null | undefined} */ n) => {
    if (n === null || n === undefined || over === null || over === undefined) return { part: null, text: "not known" };
    if (!n) return { part: null, text: "no readings" };
    const estimate = p95 === null || p95 === undefined ? "" : `, p95 ${about(p95)}`;
    return { part: over / n, text: `${count(over)} of ${count(n)} over (${share(over, n)})${estimate}` };
  };
  return {
    before: side(event.before, event.before_over, event.before_n), after: side(event.after, event.after_over, event.after_n),
    isGood: event.event === "verified",
  };
}

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
/** @param {string} text */
const sentence = (text) => (text ? `${capital(text)}.` : "");
