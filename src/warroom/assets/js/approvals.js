// @ts-check
// The queue of what waits for a human's word: what exactly would be done, what it touches, why a guard did not decide
// it, and how long it still waits. Below it, what was decided lately.
import * as api from "./api.js";
import { confirm } from "./confirm.js";
import { waited } from "./deeds.js";
import { fill, h, say, time } from "./dom.js";
import { clock, moment, plural, span, words } from "./format.js";
import { notice } from "./freeze.js";
import { deedRows } from "./lists.js";
import { may } from "./session.js";
import { store } from "./store.js";
import { bdi, incidentLink, serviceLink } from "./text.js";
import { waiting } from "./waiting.js";

/** @typedef {import("./contract.d.ts").Approval} Approval */
/** @typedef {import("./contract.d.ts").ActionEvent} ActionEvent */

/** So much of the past is looked through, and shown. */
const [LOOKED, SHOWN] = [200, 20];
/** With less time than this left it is said louder, ms. */
const SOON_MS = 120_000;
/** A sentence of the server's is shown in full up to this. */
const SENTENCE = 500;

class Queue {
  /** By action. @type {Map<string, HTMLElement>} */
  cards = new Map();

  /**
   * @param {HTMLElement} root
   * @param {AbortSignal} signal
   */
  constructor(root, signal) {
    this.signal = signal;
    this.title = h("h1", { tabindex: -1 }, "Approvals");
    this.intro = h("p.note");
    this.failed = h("p.error", { hidden: true });
    this.list = h("div.asks");
    this.said = h("p.unseen", { "aria-live": "polite" });
    this.past = h("section.box");
    document.title = "Approvals · war room";
    fill(root, this.title, this.intro, this.failed, this.said, this.list, this.past);
    waiting.on(() => this.show(), signal);
    store.on("action", (/** @type {ActionEvent} */ event) => waited(event.event) && void this.tellPast(), signal);
    store.on("services", (/** @type {import("./store.js").Change} */ change) => {
      if (change.isReset || change.moved.length) void this.tellPast();
      this.sayFrozen();
    }, signal);
    const timer = setInterval(() => this.tick(), 1000);
    signal.addEventListener("abort", () => clearInterval(timer));
    this.show();
    waiting.ask();
    void this.tellPast();
  }

  show() {
    const { list, failed, isKnown } = waiting;
    this.failed.hidden = !failed;
    say(this.failed, failed && `What waits cannot be shown: ${failed}`);
    say(this.intro, !isKnown ? "Loading ..." : list.length
      ? "A guard did not decide these by itself. What nobody decides in time is not done."
      : "Nothing waits for approval. What a guard hands to a human stands here until it is decided, or its time is over.");
    const text = isKnown ? `${list.length ? plural(list.length, "action") : "nothing"} waits for approval` : "";
    say(this.said, text);
    const hadFocus = this.list.contains(document.activeElement);
    for (const [id, card] of this.cards) {
      if (list.some((one) => one.action_id === id)) continue;
      card.remove();
      this.cards.delete(id);
    }
    list.forEach((approval, i) => {
      let card = this.cards.get(approval.action_id);
      if (!card) {
        card = cardOf(approval);
        this.cards.set(approval.action_id, card);
      }
      if (this.list.children[i] !== card) this.list.insertBefore(card, this.list.children[i] ?? null);
    });
    if (hadFocus && !this.list.contains(document.activeElement)) this.title.focus();
    this.sayFrozen();
    this.tick();
  }

  tick() {
    const now = store.now();
    for (const approval of waiting.list) {
      const card = this.cards.get(approval.action_id);
      if (card) sayLeft(card, approval, now);
    }
  }

  sayFrozen() {
    for (const { action_id, service } of waiting.list) {
      const place = this.cards.get(action_id)?.querySelector(".ask-frozen");
      const frozen = store.services.get(service)?.status.frozen ?? store.frozen;
      const key = frozen?.action_id ?? "";
      if (!(place instanceof HTMLElement) || place.dataset.key === key) continue;
      place.dataset.key = key;
      fill(place, frozen?.service === "_ops" ? h("p.freeze", null, h("span.row", null, "All actions are frozen: what is approved now is held back all the same.")) : notice(frozen));
    }
  }

  async tellPast() {
    try {
      const { actions } = await api.actions({ limit: LOOKED }, this.signal);
      const past = actions.filter((deed) => deed.state !== "awaiting" && deed.events.some((event) => waited(event.event)));
      fill(this.past, h("h2", null, "Decided lately"), past.length ? deedRows(past.slice(0, SHOWN)) : h("p.note", null, `None of the last ${plural(actions.length, "action")}.`));
    } catch (error) {
      if (!this.signal.aborted) fill(this.past, h("h2", null, "Decided lately"), h("p.note", null, `Not known: ${error instanceof Error ? error.message : error}`));
    }
  }
}

/** @param {Approval} approval */
function cardOf(approval) {
  const { action_id, service, incident, verb, target, owner, asked_at, reason, why, hash, goal, what, blast_radius } = approval;
  const fact = (/** @type {string} */ name, /** @type {import("./dom.js").Child[]} */ ...value) => h("div", null, h("dt", null, name), h("dd", null, ...value));
  const id = `ask-${action_id}`;
  const button = (/** @type {"approve" | "deny"} */ word, /** @type {string} */ text) =>
    h("button", { type: "button", class: word === "approve" ? "primary" : null, "data-word": word, "aria-describedby": id, onclick: () => ask(word, approval) }, text);
  return h("article.box.ask", { "aria-labelledby": id, "data-action": action_id },
    h("div.ask-top", null, h("span.ask-verb", null, bdi(words(verb)), target && h("small", null, " on ", bdi(target))),
      h("span.ask-left", null, h("span.ask-time"), h("span.ask-track", { "aria-hidden": "true" }, h("span.ask-bar")))),
    h("h2.ask-what", { id }, bdi(what, SENTENCE)),
    h("dl.ask-facts", null,
      fact("Touches", bdi(blast_radius, SENTENCE)),
      fact("Why it waits", h("b", null, bdi(words(reason))), why && ": ", why && bdi(why, SENTENCE)),
      fact("For", h("a", { href: incidentLink(incident) }, bdi(incident)), " of ", h("a", { href: serviceLink(service) }, bdi(service)),
        owner && h("small", null, ", owned by ", bdi(owner))),
      fact("Asked", time(asked_at, clock(asked_at), moment(asked_at)))),
    h("div.ask-frozen"),
    h("details", null, h("summary", null, "What a word is bound to"),
      h("dl.evidence", null, ...[["action", action_id], ["hash", hash], ...Object.entries(goal)].map(([name, value]) => h("div", null, h("dt", null, bdi(name)), h("dd", null, bdi(value, 200)))))),
    may("act", service) ? h("div.row", null, button("approve", "Approve …"), button("deny", "Deny …"))
      : h("p.note", null, "You may read this, and not decide it."));
}

/**
 * @param {HTMLElement} card
 * @param {Approval} approval
 * @param {number} now
 */
function sayLeft(card, { asked_at, expires_at }, now) {
  const left = Math.max(0, expires_at - now);
  const bar = /** @type {HTMLElement} */ (card.querySelector(".ask-bar"));
  say(/** @type {HTMLElement} */ (card.querySelector(".ask-time")), `${span(Math.ceil(left / 1000) * 1000)} left`);
  bar.style.width = `${(100 * Math.min(1, left / Math.max(1, expires_at - asked_at))).toFixed(1)}%`;
  card.classList.toggle("soon", left < SOON_MS);
}

/** Why no word is taken, by the word for programs. @type {{ [kind: string]: string }} */
const CONFLICTS = {
  answered: "Somebody else has decided", expired: "Its time is over", other_hash: "What would be done is something else by now",
  not_waiting: "It does not wait any more",
};

/** What a refusal is. @param {unknown} error */
function told(error) {
  const text = error instanceof Error ? error.message : String(error);
  const [status, kind] = error instanceof api.Refused ? [error.status, error.kind] : [0, ""];
  // It may have been written and not be known yet.
  if (status === 503) return { text: `Not confirmed: ${text}`, isFinal: false };
  const isFinal = status === 409 || status === 404;
  if (isFinal) waiting.ask();
  return { text: `${CONFLICTS[kind] ?? "Nothing was done by this"}: ${text}`, isFinal };
}

/**
 * Repeats what will be done, and asks for a reason.
 * @param {"approve" | "deny"} word
 * @param {Approval} approval
 */
function ask(word, approval) {
  const isYes = word === "approve";
  confirm({
    title: [isYes ? "Approve this?" : "Deny this?"],
    says: [
      h("blockquote", null, bdi(approval.what, SENTENCE)), h("p", null, bdi(approval.blast_radius, SENTENCE)),
      h("p.note", null, isYes ? "It is done once, now, if the world still is as it was when this was asked."
        : "It is not done. The incident goes on, and its next steps come all the same."),
    ],
    verb: isYes ? "Approve" : "Deny", isDanger: !isYes, told,
    carryOut: async (reason) => {
      await api.decide(word, approval, reason);
      waiting.ask();
    },
    watch: (settle, signal) => {
      store.on("action", (/** @type {ActionEvent} */ event) => {
        if (event.action_id === approval.action_id && event.event !== "awaiting") settle(otherWords(event));
      }, signal);
      waiting.on(() => {
        if (!waiting.list.some((one) => one.action_id === approval.action_id)) settle("It does not wait any more.");
      }, signal);
    },
  });
}

/** @param {ActionEvent} event */
function otherWords({ event, actor, reason }) {
  switch (event) {
    case "approved": case "rejected": return `Somebody else has decided: ${event === "approved" ? "approved" : "denied"} by ${actor}.`;
    case "expired": return "Its time is over: it is not done.";
    case "suppressed": return `It does not wait any more: held back, ${words(reason)}.`;
    default: return "It does not wait any more.";
  }
}

/**
 * @param {HTMLElement} root
 * @param {import("./router.js").Route} _route
 * @param {AbortSignal} signal
 */
export function mount(root, _route, signal) {
  new Queue(root, signal);
}
