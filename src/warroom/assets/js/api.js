// @ts-check
// Requests to the server, and what its refusals say.
import { segment, visible } from "./text.js";

/** @typedef {import("./contract.d.ts").Problem} Problem */

const BASE = "/api/v1";
/** A request that has no answer for so long has failed, ms. */
const TIMEOUT_MS = 15_000;
/** What is computed again from the log may take longer, ms. */
const RECKONING_MS = 180_000;
/** Paths that answer whoever asks. */
const OPEN = new Set(["/me", "/login"]);

/** A refusal by the server (RFC 9457), or none at all (`status` 0). */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {string} [kind] the word for programs: the last of the problem's type
   */
  constructor(status, message, kind = "") {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

/** @type {() => void} */
let unknown = () => {};
/** Calls `listener` when the server does not know any more who asks. @param {() => void} listener */
export const onUnknown = (listener) => {
  unknown = listener;
};

/**
 * What a refusal says.
 * @param {Response} answer
 */
async function refusal(answer) {
  /** @type {Problem} */
  const problem = await answer.json().catch(() => ({}));
  const said = problem.detail ?? problem.title ?? `the server answers ${answer.status}`;
  return new Refused(answer.status, visible(said), String(problem.type ?? "").split(":").pop());
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @param {number} [patience] ms
 * @returns {Promise<any>}
 */
async function ask(path, init = {}, patience = TIMEOUT_MS) {
  const timeout = AbortSignal.timeout(patience);
  const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  let answer;
  try {
    answer = await fetch(BASE + path, { ...init, signal });
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    throw new Refused(0, timeout.aborted ? "the server does not answer" : "the server cannot be reached");
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  if (answer.status === 401 && !OPEN.has(path)) unknown();
  throw await refusal(answer);
}

/**
 * What changes something: by POST, with the header that no other site can send.
 * @param {string} path
 * @param {unknown} [body]
 */
const post = async (path, body) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json", "x-ops": "1" }, body: body === undefined ? null : JSON.stringify(body) });

/**
 * @param {{ [name: string]: string | number | null | undefined }} query
 */
function search(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

/** @param {string} id */
function safe(id) {
  const part = segment(id);
  if (part === null) throw new Refused(404, "there is nothing of that name");
  return part;
}

/**
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./contract.d.ts").Detail>}
 */
export const service = async (id, signal) => ask(`/services/${safe(id)}`, { signal });

/**
 * @param {string} id
 * @param {{ sensor: string, from: number, to: number, points: number }} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./contract.d.ts").Series>}
 */
export const series = async (id, query, signal) =>
  ask(`/services/${safe(id)}/series${search({ ...query, from: Math.floor(query.from), to: Math.ceil(query.to) })}`, { signal });

/**
 * @param {string} id
 * @param {string} sensor
 */
export const liveUrl = (id, sensor) => `${BASE}/services/${safe(id)}/live${search({ sensor })}`;

/**
 * @param {{ service?: string, state?: "open" | "over", limit?: number }} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<{ now: number, incidents: import("./contract.d.ts").IncidentLine[] }>}
 */
export const incidents = async (query, signal) => ask(`/incidents${search(query)}`, { signal });

/**
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./contract.d.ts").Story>}
 */
export const incident = async (id, signal) => {
  const { story, events, actions: deeds } = await ask(`/incidents/${safe(id)}`, { signal });
  return { incident: story.incident, service: story.service, events, actions: deeds };
};

/**
 * @param {{ service?: string, limit?: number }} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./contract.d.ts").Actions>}
 */
export const actions = async (query, signal) => ask(`/actions${search(query)}`, { signal });

/**
 * Stops the actions of a service, or of all (`null`), or lets them go on.
 * @param {"freeze" | "thaw"} what
 * @param {string | null} of
 * @param {string} reason
 */
export const hand = async (what, of, reason) => post(`/${what}`, { service: of, reason });

/** @returns {Promise<import("./contract.d.ts").Me>} */
export const me = async () => ask("/me");

/** @param {string} token @returns {Promise<import("./contract.d.ts").Me>} */
export const logIn = async (token) => post("/login", { token });

export const logOut = async () => post("/logout");

/** @param {AbortSignal} signal @returns {Promise<import("./contract.d.ts").Services>} */
export const services = async (signal) => ask("/services", { signal });

/** @returns {Promise<{ now: number, approvals: import("./contract.d.ts").Approval[] }>} */
export const approvals = async () => ask("/approvals");

/**
 * A human's word on what waits for it.
 * @param {"approve" | "deny"} what
 * @param {import("./contract.d.ts").Approval} approval
 * @param {string} reason
 */
export const decide = async (what, { action_id, hash }, reason) => post(`/actions/${safe(action_id)}/${what}`, { reason, hash });

/**
 * Computes an incident again from the log; takes seconds.
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<import("./contract.d.ts").Explanation>}
 */
export const explain = async (id, signal) => ask(`/incidents/${safe(id)}/explain`, { signal }, RECKONING_MS);

/**
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<import("./contract.d.ts").Vaulted>}
 */
export const vault = async (id, signal) => ask(`/incidents/${safe(id)}/vault`, { signal });

export const STREAM = `${BASE}/stream`;

/**
 * Why the server refuses the stream, if it is there and does: a browser does not say.
 * @returns {Promise<Refused | null>}
 */
export async function whyNoStream() {
  const control = new AbortController();
  try {
    const answer = await fetch(STREAM, { signal: AbortSignal.any([control.signal, AbortSignal.timeout(TIMEOUT_MS)]) });
    return answer.ok ? null : await refusal(answer);
  } catch {
    return null;
  } finally {
    control.abort();
  }
}
