// @ts-check
// A simulated fleet that speaks the contract of the server: for work on the page and for its tests. It judges nothing;
// a test says what happens to a service, and the events are those that the processor and the actors would write.
import { createHash, randomUUID } from "node:crypto";
import { hash, wave, noise } from "./numbers.js";

/** @typedef {import("../../../src/warroom/assets/js/contract.d.ts").Status} Status */
/** @typedef {import("../../../src/warroom/assets/js/contract.d.ts").ActionEvent} ActionEvent */
/** @typedef {import("../../../src/warroom/assets/js/contract.d.ts").IncidentEvent} IncidentEvent */
/** @typedef {import("../../../src/warroom/assets/js/contract.d.ts").Deed} Deed */
/** @typedef {import("../../../src/warroom/assets/js/contract.d.ts").Approval} Approval */
/** @typedef {"healthy" | "breached" | "recovering" | "pending" | "no_data" | "insufficient" | "stale" | "inactive" | "no_slo"} Mode */
/** @typedef {{ id: string, owner: string, mode: Mode, threshold: number, seed: number, generation: number, open: string | null, openedAt: number, silentSince: number, deeds: Deed[], events: Map<string, IncidentEvent[]>, frozen: ActionEvent | null, rejected: { [reason: string]: number } }} Service */

const OWNERS = ["TSA", "Baggage", "Check-in", "Border control", "Retail", "Ground ops", "Parking", "Flight info"];
const KINDS = ["scanner", "belt", "gate", "kiosk", "queue", "shuttle", "camera", "feed", "till", "lift"];
const WINDOW_MS = 300_000;

export class World {
  /** @type {Map<string, Service>} */
  services = new Map();
  /** @type {ActionEvent | null} */
  frozen = null;
  /** @type {(event: string, data: unknown) => void} */
  emit = () => {};
  /** What waits for a human's word, by action. @type {Map<string, Approval>} */
  waiting = new Map();
  /** Is what is computed again what was published? */
  isConfirmed = true;
  /** How long that takes, ms. */
  explainMs = 50;
  /** Is there a vault to look into? */
  hasVault = true;
  /** What of it cannot be read. @type {string[]} */
  damage = [];
  #offset = 1000;

  now() {
    return Date.now();
  }

  /**
   * @param {number} count
   */
  static of(count) {
    const world = new World();
    for (let i = 0; i < count; i++) {
      const kind = KINDS[i % KINDS.length];
      world.add(`${OWNERS[i % OWNERS.length].slice(0, 3).toUpperCase()}_${kind}_${String(i + 1).padStart(4, "0")}`, OWNERS[i % OWNERS.length]);
    }
    return world;
  }

  /**
   * @param {string} id
   * @param {string} owner
   * @param {Mode} [mode]
   */
  add(id, owner, mode = "healthy") {
    const seed = hash(id);
    /** @type {Service} */
    const service = {
      id, owner, mode, seed, threshold: 10 + (seed % 9) * 5, generation: 0, open: null, openedAt: 0, silentSince: this.now() - 95_000, deeds: [],
      events: new Map(), frozen: null, rejected: {},
    };
    this.services.set(id, service);
    return service;
  }

  /** @param {string} id */
  get(id) {
    const service = this.services.get(id);
    if (!service) throw new Error(`no service ${id}`);
    return service;
  }

  /** @param {Service} service @param {number} at */
  value(service, at) {
    const calm = service.threshold * (0.35 + 0.35 * wave(service.seed, at, 90_000));
    const from = service.openedAt - 60_000;
    const isHot = service.openedAt > 0 && at > from && (service.mode === "breached" || service.mode === "recovering" || service.mode === "pending");
    if (!isHot) return calm;
    const rise = Math.min(1, (at - from) / 60_000);
    const fall = service.mode === "recovering" ? Math.max(0, 1 - (at - service.openedAt) / 120_000) : 1;
    return calm + service.threshold * (0.55 + 0.25 * wave(service.seed + 1, at, 40_000)) * rise * fall;
  }

  /** One reading. @param {Service} service @param {number} at */
  reading(service, at) {
    return this.value(service, at) * (0.7 + 0.45 * noise(service.seed, Math.floor(at / 100)));
  }

  /** @param {Service} service @returns {Status} */
  status(service) {
    const now = this.now();
    const { mode } = service;
    const isJudged = mode !== "inactive" && mode !== "no_slo";
    const isSilent = mode === "no_data" || mode === "stale";
    const p95 = isJudged && !isSilent && mode !== "insufficient" ? this.value(service, now) : null;
    const n = isJudged ? (mode === "insufficient" ? 4 : isSilent ? 0 : 280 + (service.seed % 20)) : null;
    const over = n === null ? null : p95 !== null && p95 > service.threshold ? Math.round(n * (0.06 + 0.3 * (p95 / service.threshold - 1))) : Math.round(n * 0.01);
    const isOpen = service.open !== null;
    const phase = isOpen ? (mode === "recovering" ? "recovering" : "open") : mode === "pending" ? "pending" : "healthy";
    return {
      service: service.id, owner: service.owner,
      slo_state: isOpen ? "breached" : mode === "healthy" || mode === "pending" ? "healthy" : "unknown",
      state: isJudged ? [{ cause: "slo", phase, held_ms: phase === "pending" ? 12_000 : 0 }, { cause: "error_rate > 2 %", phase: "healthy", held_ms: 0 }] : [],
      quality: mode === "breached" || mode === "recovering" || mode === "pending" || mode === "healthy" ? "fresh" : mode,
      p95_estimate: p95, n, over, rank: n === null ? null : Math.ceil(0.95 * n), threshold: mode === "no_slo" || mode === "inactive" ? null : service.threshold,
      window_ms: mode === "no_slo" || mode === "inactive" ? null : WINDOW_MS,
      age_ms: mode === "inactive" ? null : isSilent ? now - service.silentSince : 800 + (service.seed % 1500), late: 0,
      rejected: service.rejected,
      last_rejected: Object.keys(service.rejected).length ? { reason: "ts_future", at: now - 42_000, partition: 2, offset: 88_123, sample: '{"service":"<script>alert(1)</script>","ts":99999999999999}' } : null,
      open_incidents: service.open ? [{ incident: service.open, cause: "slo", opened_at: service.openedAt }] : [],
      last_actions: service.deeds.flatMap((deed) => deed.events.slice(-1)).reverse().slice(0, 5),
      frozen: this.frozen ?? service.frozen, as_of: mode === "inactive" ? null : mode === "stale" ? service.silentSince : now - 1200,
    };
  }

  /** Tells how it is now. @param {...string} ids */
  tell(...ids) {
    this.emit("statuses", { now: this.now(), statuses: ids.map((id) => this.status(this.get(id))) });
  }

  /** @param {Service} service @param {Partial<IncidentEvent> & { event: string }} event */
  happen(service, event) {
    const full = /** @type {IncidentEvent} */ ({
      service: service.id, spec_hash: createHash("sha256").update(service.id).digest("hex"), at: this.now(), ...event,
    });
    const placed = { ...full, partition: service.seed % 8, offset: this.#offset++ };
    const incident = event.incident;
    if (incident) service.events.set(incident, [...(service.events.get(incident) ?? []), placed]);
    this.emit("incident", full);
  }

  /**
   * The objective is missed: opens an incident.
   * @param {string} id
   * @param {number} [ago] since when, ms
   */
  breach(id, ago = 0) {
    const service = this.get(id);
    const at = Math.floor((this.now() - ago) / 1000) * 1000;
    service.generation += 1;
    Object.assign(service, { mode: "breached", open: `${id}.${service.generation}`, openedAt: at });
    this.happen(service, {
      event: "opened", at, incident: service.open ?? "", cause: "slo", episode: `${id}.1`, openings: service.generation, flapping: service.generation > 2,
      threshold: service.threshold, window_from: at - WINDOW_MS, window_to: at, n: 291, over: 31, rank: 277, p95_estimate: service.threshold * 1.32,
    });
    this.tell(id);
    return service.open ?? "";
  }

  /**
   * A step of the playbook asks for an action.
   * @param {string} id
   * @param {string} verb
   * @param {{ [name: string]: string }} args
   * @param {{ step: number, basis: string, at?: number }} how
   */
  request(id, verb, args, { step, basis, at = this.now() }) {
    const service = this.get(id);
    const action_id = randomUUID();
    const incident = service.open ?? `${id}.${service.generation}`;
    this.happen(service, { event: "requested", at, incident, step, call: 1, verb, args: { ...args, "service.owner": service.owner }, basis, action_id, ...(basis === "fresh_data" ? { n: 15, over: 9, rank: 15 } : {}) });
    service.deeds.push({ action_id, service: id, incident, verb, target: null, state: "waiting", effect: null, reason: null, request: { at, step, call: 1, basis, args }, events: [] });
    return action_id;
  }

  /**
   * An actor says how far an action is.
   * @param {string} id
   * @param {string} action_id
   * @param {Partial<ActionEvent> & { event: string }} event
   */
  act(id, action_id, event) {
    const service = this.get(id);
    const deed = service.deeds.find((one) => one.action_id === action_id);
    if (!deed) throw new Error("no such action");
    /** @type {ActionEvent} */
    const full = {
      action_id, incident: deed.incident, service: id, verb: deed.verb, actor: deed.verb === "page" ? "pager" : "autoscaler", at: this.now(),
      target: deed.verb === "page" ? "tsa_ops" : `deployment ${id.toLowerCase()}`, attempt: 1, dry_run: false, ...event,
    };
    deed.target = full.target;
    if (full.event === "verified" || full.event === "ineffective") deed.effect = full.event;
    else [deed.state, deed.reason] = [full.event, full.reason ?? null];
    deed.events.push(full);
    this.emit("action", full);
    this.tell(id);
  }

  /**
   * A guard hands an action to a human.
   * @param {string} id
   * @param {string} action_id
   * @param {{ at?: number, lasts?: number, goal?: { [name: string]: string }, reason?: string, why?: string, what?: string, blast_radius?: string }} [how]
   */
  await(id, action_id, { at = this.now(), lasts = 600_000, goal = { from: "4", to: "6", uid: "5f0c" }, reason = "budget_incident", why, what, blast_radius } = {}) {
    const hash = createHash("sha256").update(action_id + JSON.stringify(goal)).digest("hex");
    const expires_at = at + lasts;
    const said = why ?? "3 actions of this incident have been carried out, and 3 is its budget";
    this.act(id, action_id, { event: "awaiting", at, reason, why: said, goal, hash, expires_at });
    const { incident, verb, target } = this.deed(action_id);
    this.waiting.set(action_id, {
      action_id, service: id, incident, verb, target, owner: this.get(id).owner, asked_at: at, expires_at, reason, why: said, hash, goal,
      what: what ?? `Scales ${target} in namespace airport from ${goal.from} to ${goal.to} replicas.`,
      blast_radius: blast_radius ?? "2 pods of 1 deployment are added; nothing that runs is stopped.",
    });
    return hash;
  }

  /** @param {string} action_id */
  deed(action_id) {
    for (const { deeds } of this.services.values()) for (const deed of deeds) if (deed.action_id === action_id) return deed;
    throw new Error("no such action");
  }

  /** Those that can still be decided, most urgent first. */
  approvals() {
    return [...this.waiting.values()].filter((one) => one.expires_at > this.now()).sort((a, b) => a.expires_at - b.expires_at);
  }

  /**
   * A human's word; the actor's follows, unless a test wants to give it.
   * @param {string} action_id
   * @param {boolean} isYes
   * @param {string} who
   * @param {string} reason
   */
  decide(action_id, isYes, who, reason) {
    const asked = this.waiting.get(action_id);
    if (!asked) throw new Error("it does not wait");
    this.waiting.delete(action_id);
    const { service, hash, goal } = asked;
    this.act(service, action_id, { event: isYes ? "approved" : "rejected", actor: who, reason, hash });
    if (isYes) this.act(service, action_id, { event: "started", goal });
    else this.act(service, action_id, { event: "denied", reason: `${who}: ${reason}` });
  }

  /** Nobody has decided in time. @param {string} action_id */
  expire(action_id) {
    const asked = this.waiting.get(action_id);
    this.waiting.delete(action_id);
    if (asked) this.act(asked.service, action_id, { event: "expired" });
  }

  /** @param {string} id @param {Mode} mode */
  turn(id, mode) {
    const service = this.get(id);
    if (mode === "no_data" || mode === "stale") service.silentSince = this.now();
    service.mode = mode;
    this.tell(id);
  }

  /** @param {string} id */
  resolve(id, at = this.now()) {
    const service = this.get(id);
    const incident = service.open;
    if (!incident) throw new Error("nothing is open");
    Object.assign(service, { mode: "healthy", open: null });
    this.happen(service, { event: "resolved", at, incident, cause: "slo", opened_at: service.openedAt, n: 288, over: 4, rank: 274, p95_estimate: service.threshold * 0.62 });
    this.tell(id);
  }

  /** @param {string | null} of @param {string} reason @param {boolean} isFrozen */
  hand(of, reason, isFrozen) {
    const service = of ?? "_ops";
    /** @type {ActionEvent} */
    const event = {
      event: isFrozen ? "frozen" : "thawed", action_id: randomUUID(), incident: `${service}.0`, service, verb: isFrozen ? "freeze" : "thaw",
      actor: "operator", at: this.now(), target: null, attempt: 1, dry_run: false, reason,
    };
    if (of === null) this.frozen = isFrozen ? event : null;
    else this.get(of).frozen = isFrozen ? event : null;
    this.emit("action", event);
    this.tell(...(of === null ? this.services.keys() : [of]));
  }
}

/** A fleet in which every look stands, for work on the page and for its pictures. @param {number} count */
export function exhibition(count) {
  const world = World.of(count);
  const ids = [...world.services.keys()];
  const add = (/** @type {string} */ id, /** @type {string} */ owner, /** @type {Mode} */ mode = "healthy") => world.add(id, owner, mode).id;
  const scanner = add("DCA_Luggage_Scanner", "TSA");
  world.get(scanner).threshold = 30;
  world.get(scanner).rejected = { ts_future: 12, value_not_finite: 3 };
  story(world, scanner);
  if (ids.length < 12) return world;
  world.breach(ids[3], 42_000);
  const waiting = world.request(ids[3], "scale_up", { compute: "+1" }, { step: 1, basis: "opened", at: world.now() - 42_000 });
  world.act(ids[3], waiting, { event: "suppressed", reason: "cool_down", at: world.now() - 41_000, detail: { why: "scaled 2 min ago; the window is 5 min" } });
  world.breach(ids[8], 1_260_000);
  const page = world.request(ids[8], "page", { channel: "baggage", severity: "critical" }, { step: 2, basis: "fresh_data", at: world.now() - 1_200_000 });
  world.act(ids[8], page, { event: "started", at: world.now() - 1_199_000, goal: { channel: "baggage" } });
  world.act(ids[8], page, { event: "done", at: world.now() - 1_198_500, detail: { answer: "202" } });
  asking(world, scanner, ids[8]);
  world.breach(ids[10], 200_000);
  world.turn(ids[10], "recovering");
  /** @type {Mode[]} */
  const modes = ["pending", "no_data", "no_data", "insufficient", "stale", "inactive", "no_slo"];
  modes.forEach((mode, i) => {
    const service = world.get(ids[(i + 1) * Math.floor(ids.length / 9)]);
    if (!service.open) service.mode = mode;
    if (mode === "pending") service.openedAt = world.now() - 12_000;
  });
  return world;
}

/** Two that wait, and one that was decided. @param {World} world @param {string} id @param {string} other */
function asking(world, id, other) {
  const ago = (/** @type {number} */ s) => world.now() - s * 1000;
  const before = world.request(other, "scale_up", { compute: "+2" }, { step: 1, basis: "opened", at: ago(900) });
  world.await(other, before, { at: ago(900) });
  world.decide(before, false, "maria", "the belt is jammed, more pods do not help");
  for (const event of world.deed(before).events.slice(1)) event.at = ago(840);
  const more = world.request(id, "scale_up", { compute: "+2" }, { step: 3, basis: "fresh_data", at: ago(24) });
  world.await(id, more, { at: ago(24) });
  const hour = world.request(other, "rollback", {}, { step: 3, basis: "fresh_data", at: ago(505) });
  world.await(other, hour, {
    at: ago(505), reason: "budget_service", why: "6 actions of this service in the last hour, and 6 is its budget", goal: { from: "revision 41", to: "revision 40", uid: "77aa" },
    what: `Rolls deployment ${other.toLowerCase()} in namespace airport back from revision 41 to revision 40.`,
    blast_radius: "All 8 pods of 1 deployment are replaced, 2 at a time.",
  });
}

/** A whole story: opened, scaled, helped, paged too soon to know. @param {World} world @param {string} id */
export function story(world, id) {
  const ago = (/** @type {number} */ s) => world.now() - s * 1000;
  // One that is over, and one that is not.
  world.breach(id, 7_800_000);
  world.resolve(id, ago(7200));
  world.breach(id, 192_000);
  const up = world.request(id, "scale_up", { compute: "+2" }, { step: 1, basis: "opened", at: ago(192) });
  world.act(id, up, { event: "started", at: ago(191.600), goal: { from: "2", to: "4", uid: "5f0c", generation: "7" } });
  world.act(id, up, { event: "done", at: ago(190.900), detail: { replicas: "4" } });
  world.act(id, up, { event: "ineffective", at: ago(60), before: 41.2, before_n: 74, before_over: 31, after: 36.4, after_n: 75, after_over: 12, reason: "readings" });
  const page = world.request(id, "page", { channel: "tsa_ops", severity: "critical" }, { step: 2, basis: "fresh_data", at: ago(132) });
  world.act(id, page, { event: "started", at: ago(131.700), goal: { channel: "tsa_ops" } });
  world.act(id, page, { event: "done", at: ago(131.100), detail: { answer: "202", dedup_key: `${id}.1` } });
}
