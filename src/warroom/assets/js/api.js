// @ts-check
// Requests to the server, and what its refusals say.
import { segment, visible } from "./text.js";

/** @typedef {import("./contract.d.ts").Problem} Problem */

const BASE = "/api/v1";
/** A request that has no answer for so long has failed, ms. */
const TIMEOUT_MS = 15_000;

/** A refusal by the server (RFC 9457), or none at all (`status` 0). */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
async function ask(path, init = {}) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  let answer;
  try {
    answer = await fetch(BASE + path, { ...init, signal });
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    throw new Refused(0, timeout.aborted ? "the server does not answer" : "the server cannot be reached");
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  /** @type {Problem} */
  const problem = await answer.json().catch(() => ({}));
  const said = problem.detail ?? problem.title ?? `the server answers ${answer.status}`;
  throw new Refused(answer.status, visible(said));
}

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
export const incident = async (id, signal) => ask(`/incidents/${safe(id)}`, { signal });

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
export const hand = async (what, of, reason) =>
  ask(`/${what}`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-ops": "1" },
    body: JSON.stringify({ service: of, reason }),
  });

export const STREAM = `${BASE}/stream`;
