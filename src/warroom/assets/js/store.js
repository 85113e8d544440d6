// @ts-check
// What is known of all services, as of the last word of the server. Pages read it and are told what changed; nothing
// here draws, and nothing here judges.
import { actions } from "./api.js";
import { lookOf, LOOKS } from "./look.js";
import { Trace } from "./trace.js";

/** @typedef {import("./contract.d.ts").Status} Status */
/** @typedef {import("./contract.d.ts").ActionEvent} ActionEvent */
/** @typedef {import("./contract.d.ts").IncidentEvent} IncidentEvent */
/** @typedef {import("./look.js").Look} Look */
/** @typedef {import("./stream.js").Link} Link */

/**
 * One service.
 * @typedef {object} Entry
 * @property {Status} status
 * @property {Look} look
 * @property {number | null} newest when its newest reading was taken, ms
 * @property {number | null} since the opening of its oldest open incident, ms
 * @property {string} sought name and owner in lower case, for the search
 * @property {Trace} trace its p95 of the last minutes
 * @property {IncidentEvent | null} verdict an opening or a resolve that is newer than the counts of its status
 */

/**
 * Where nothing streams, `isPolled`: then `moved` are those whose incidents or actions are others than before, for no
 * event says so.
 * @typedef {{ ids: string[], isOrderNew: boolean, isReset: boolean, isPolled: boolean, moved: string[] }} Change
 */

/** @type {Change} */
const NOTHING = { ids: [], isOrderNew: false, isReset: false, isPolled: false, moved: [] };

/** The id under which the freeze of all stands. */
const ALL = "_ops";

class Store {
  /** @type {Map<string, Entry>} */
  services = new Map();
  /** How many look how. @type {{ [look in Look]: number }} */
  counts = /** @type {any} */ (Object.fromEntries(LOOKS.map((look) => [look, 0])));
  /** @type {Link} */
  link = "connecting";
  /** Did the first word come? */
  isKnown = false;
  /** The freeze of all actions, if they are. @type {ActionEvent | null} */
  frozen = null;
  /** The server's clock at the last word, ms. */
  heardAt = 0;

  #clock = { server: Date.now(), here: performance.now() };
  /** @type {{ [topic: string]: Set<(fact: any) => void> }} */
  #listeners = { services: new Set(), link: new Set(), incident: new Set(), action: new Set(), frozen: new Set() };

  /**
   * Calls `listener` at each change until `signal` says stop.
   * @param {"services" | "link" | "incident" | "action" | "frozen"} topic
   * @param {(fact: any) => void} listener
   * @param {AbortSignal} [signal]
   */
  on(topic, listener, signal) {
    this.#listeners[topic].add(listener);
    signal?.addEventListener("abort", () => this.#listeners[topic].delete(listener));
  }

  /**
   * @param {string} topic
   * @param {unknown} fact
   */
  #tell(topic, fact) {
    for (const listener of this.#listeners[topic]) listener(fact);
  }

  /** The server's clock now, ms: by its last word and the time that passed here, whatever the clock here says. */
  now() {
    return this.#clock.server + (performance.now() - this.#clock.here);
  }

  /** @param {number} now */
  beat(now) {
    if (!Number.isFinite(now)) return;
    this.#clock = { server: now, here: performance.now() };
    this.heardAt = now;
  }

  /** @param {Link} link */
  turn(link) {
    if (link === this.link) return;
    this.link = link;
    this.#tell("link", link);
  }

  /** @param {{ now: number, services: Status[] }} all */
  reset(all) {
    this.beat(all.now);
    const before = this.services;
    this.services = new Map();
    for (const look of LOOKS) this.counts[look] = 0;
    for (const status of all.services) this.#put(status, all.now, before.get(status.service)?.trace);
    this.isKnown = true;
    this.#change({ ids: all.services.map((status) => status.service), isOrderNew: true, isReset: true });
    this.#askFrozen();
  }

  /** Whoever logs in next finds nothing of this one. */
  forget() {
    this.services = new Map();
    for (const look of LOOKS) this.counts[look] = 0;
    this.isKnown = false;
    this.heardAt = 0;
    this.#freeze(null);
    this.turn("connecting");
  }

  /**
   * All of what one may see, as it is asked for where nothing streams.
   * @param {{ now: number, services: Status[] }} all
   */
  polled(all) {
    if (!this.isKnown || this.link !== "live") {
      this.reset(all);
      return;
    }
    const here = new Set(all.services.map((status) => status.service));
    const gone = [...this.services.keys()].filter((id) => !here.has(id));
    if (gone.length) this.drop({ services: gone });
    const story = (/** @type {Status | undefined} */ status) => JSON.stringify([status?.open_incidents, status?.last_actions, status?.frozen]);
    const moved = all.services.filter((status) => story(status) !== story(this.services.get(status.service)?.status));
    this.take({ now: all.now, statuses: all.services }, { isPolled: true, moved: [...gone, ...moved.map((status) => status.service)] });
    const frozen = all.services.find((status) => status.frozen?.service === ALL)?.frozen ?? null;
    if (frozen?.action_id !== this.frozen?.action_id) this.#freeze(frozen);
  }

  /** @param {Partial<Change>} change */
  #change(change) {
    this.#tell("services", { ...NOTHING, ...change });
  }

  /**
   * @param {{ now: number, statuses: Status[] }} some
   * @param {Partial<Change>} [how]
   */
  take(some, how) {
    this.beat(some.now);
    let isOrderNew = false;
    const ids = [];
    for (const status of some.statuses) {
      ids.push(status.service);
      if (this.#put(status, some.now)) isOrderNew = true;
    }
    this.#change({ ...how, ids, isOrderNew });
  }

  /** @param {{ services: string[] }} gone */
  drop(gone) {
    for (const id of gone.services) {
      const entry = this.services.get(id);
      if (entry) this.counts[entry.look] -= 1;
      this.services.delete(id);
    }
    this.#change({ ids: gone.services, isOrderNew: true });
  }

  /**
   * Counts of a status are of the last cut, some seconds ago; those of a verdict are of now. Without them a tile would
   * turn red and still show the good numbers.
   * @param {IncidentEvent} event
   */
  incident(event) {
    const entry = this.services.get(event.service);
    if (entry && isNewer(event, entry.status)) {
      entry.verdict = event;
      entry.status = withNumbers(entry.status, event);
      entry.trace.push(event.at, event.p95_estimate ?? null);
      this.#change({ ids: [event.service] });
    }
    this.#tell("incident", event);
  }

  /** @param {ActionEvent} event */
  action(event) {
    if (event.service === ALL && event.event === "frozen") this.#freeze(event);
    if (event.service === ALL && event.event === "thawed") this.#freeze(null);
    this.#tell("action", event);
  }

  /** @param {ActionEvent | null} event */
  #freeze(event) {
    this.frozen = event;
    this.#tell("frozen", event);
  }

  #askFrozen() {
    const heard = this.frozen;
    actions({ limit: 1 }).then((all) => {
      // What came by the stream meanwhile is newer.
      if (this.frozen === heard) this.#freeze(all.frozen.find((event) => event.service === ALL) ?? null);
    }, () => {}); // asked again at the next reset; the stream's own events say it too
  }

  /**
   * Takes a status; says whether the order of the wall may be another now.
   * @param {Status} status
   * @param {number} now
   * @param {Trace} [trace] of a service that was known before
   */
  #put(status, now, trace) {
    const known = this.services.get(status.service);
    const look = lookOf(status);
    const since = status.open_incidents.reduce(
      (/** @type {number | null} */ oldest, { opened_at }) => Math.min(oldest ?? opened_at, opened_at), null);
    const newest = status.age_ms === null ? null : now - status.age_ms;
    const isOrderNew = !known || known.look !== look || known.since !== since || known.status.owner !== status.owner;
    const entry = known ?? /** @type {Entry} */ ({ trace: trace ?? new Trace(), verdict: null });
    if (known) this.counts[known.look] -= 1;
    this.counts[look] += 1;
    if (!known || known.status.owner !== status.owner) entry.sought = `${status.service}\n${status.owner}`.toLowerCase();
    if (entry.verdict && !isNewer(entry.verdict, status)) entry.verdict = null;
    entry.status = entry.verdict ? withNumbers(status, entry.verdict) : status;
    entry.look = look;
    entry.newest = newest;
    entry.since = since;
    entry.trace.push(status.as_of ?? now, status.p95_estimate);
    this.services.set(status.service, entry);
    return isOrderNew;
  }
}

/**
 * @param {IncidentEvent} event
 * @param {Status} status
 */
function isNewer(event, status) {
  const hasNumbers = event.n !== null && event.n !== undefined && (event.event === "opened" || event.event === "resolved");
  return hasNumbers && event.at > (status.as_of ?? 0);
}

/**
 * @param {Status} status
 * @param {IncidentEvent} event
 * @returns {Status}
 */
function withNumbers(status, { p95_estimate = null, n = null, over = null, rank = null }) {
  return { ...status, p95_estimate, n, over, rank };
}

export const store = new Store();
