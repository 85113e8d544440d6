// @ts-check
// Who one is for the server, and what one may: buttons that would be refused are not shown. The server decides all the
// same; nothing here protects anything.
import * as api from "./api.js";

/** @typedef {import("./contract.d.ts").Me} Me */

/** Not known yet: nothing but reading is offered. @type {Me | null} */
let me = null;
/** @type {Promise<void> | null} */
let asking = null;
/** @type {Set<() => void>} */
const listeners = new Set();

/** @param {Me} next */
function turn(next) {
  const isNew = JSON.stringify(next) !== JSON.stringify(me);
  me = next;
  if (isNew) for (const listener of listeners) listener();
}

/** Calls `listener` when one becomes somebody else. @param {() => void} listener */
export const onChange = (listener) => void listeners.add(listener);

/** The one that is logged in; null as long as the server has not said. */
export const who = () => me;

/** Does the server want a token, and has none? */
export const mustLogIn = () => me !== null && me.login === "token" && me.name === null && !me.rights.length;

/** Is some of the fleet none of one's business? The stream tells of all of it, so it is not for such a one. */
export const isPartial = () => me !== null && !me.services.includes("*");

/** @param {string} pattern an id, or how it begins and `*` @param {string} service */
const covers = (pattern, service) => (pattern.endsWith("*") ? service.startsWith(pattern.slice(0, -1)) : service === pattern);

/**
 * @param {"act" | "emit" | "read"} right
 * @param {string | null} service null: all of them
 */
export function may(right, service) {
  if (!me?.rights.includes(right)) return false;
  return me.services.some((pattern) => pattern === "*" || (service !== null && covers(pattern, service)));
}

/** Asks the server; once at a time. */
export function ask() {
  asking ??= api.me().then(turn).finally(() => {
    asking = null;
  });
  return asking;
}

/** @param {string} token */
export async function logIn(token) {
  turn(await api.logIn(token));
}

/** The page begins anew: nothing that was known stays in it. */
export async function logOut() {
  await api.logOut();
  location.reload();
}

api.onUnknown(() => void ask().catch(() => {})); // asked again when the stream speaks
