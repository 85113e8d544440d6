// @ts-check
// What waits for a human's word, as of the last answer of the server. The queue, the number in the head and the tiles
// read it. What expires leaves by itself.
import * as api from "./api.js";
import { store } from "./store.js";

/** @typedef {import("./contract.d.ts").Approval} Approval */

/** News come in bursts; the queue is asked for once, ms. */
const TOGETHER_MS = 150;

class Waiting {
  /** Most urgent first. @type {Approval[]} */
  list = [];
  /** Was it ever answered? */
  isKnown = false;
  /** Why it cannot be said, if it cannot. */
  failed = "";
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #soon;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #expiry;

  constructor() {
    store.on("services", (/** @type {import("./store.js").Change} */ change) => {
      if (change.isReset || change.isPolled) this.ask();
    });
    store.on("action", (/** @type {import("./contract.d.ts").ActionEvent} */ event) => {
      if (event.event === "awaiting" || this.list.some((one) => one.action_id === event.action_id)) this.ask();
    });
  }

  /**
   * Calls `listener` at each change until `signal` says stop.
   * @param {() => void} listener
   * @param {AbortSignal} [signal]
   */
  on(listener, signal) {
    this.#listeners.add(listener);
    signal?.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  /** Those of a service. @param {string} service */
  of(service) {
    return this.list.filter((one) => one.service === service);
  }

  /** Asks the server, soon. */
  ask() {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      api.approvals().then((answer) => {
        this.isKnown = true;
        this.failed = "";
        this.#turn(answer.approvals);
      }, (error) => {
        this.failed = error instanceof Error ? error.message : String(error);
        this.#turn(this.list);
      });
    }, TOGETHER_MS);
  }

  /** @param {Approval[]} list */
  #turn(list) {
    const now = store.now();
    this.list = list.filter((one) => one.expires_at > now);
    clearTimeout(this.#expiry);
    if (this.list.length) {
      const next = Math.min(...this.list.map((one) => one.expires_at));
      this.#expiry = setTimeout(() => this.#turn(this.list), Math.min(next - now + 50, 60_000));
    }
    for (const listener of this.#listeners) listener();
  }
}

export const waiting = new Waiting();
