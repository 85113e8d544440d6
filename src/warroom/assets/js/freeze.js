// @ts-check
// The human's hand: stops all actions, or those of one service, and lets them go on. Its state is on every page.
import { hand } from "./api.js";
import { confirm, REASON } from "./confirm.js";
import { fill, h } from "./dom.js";
import { moment } from "./format.js";
import { may, onChange } from "./session.js";
import { store } from "./store.js";
import { bdi, serviceLink } from "./text.js";

/** @typedef {import("./contract.d.ts").ActionEvent} ActionEvent */

/**
 * The state of the freeze of all, and the way to change it, in the head of the page.
 * @param {HTMLElement} hold
 */
export function showIn(hold) {
  const show = () => {
    const { frozen } = store;
    fill(hold, frozen
      ? h("a.hold", { href: "#/actions", title: `since ${moment(frozen.at)}` }, "Actions frozen: ", bdi(frozen.reason, 80), ", by ", bdi(frozen.actor, 40))
      : may("act", null) && h("button", { type: "button", id: "freeze", onclick: () => ask("freeze", null) }, "Freeze actions"));
  };
  store.on("frozen", show);
  onChange(show);
  show();
}

/**
 * What is frozen, and a button to change it.
 * @param {ActionEvent | null} frozen what says so, if it is
 * @param {string | null} of a service, or all
 */
export function control(frozen, of) {
  if (!frozen) {
    if (!may("act", of)) return "";
    const text = of === null ? "Freeze all actions" : "Freeze its actions";
    return h("button", { type: "button", onclick: () => ask("freeze", of) }, text);
  }
  const isOfAll = frozen.service === "_ops";
  const whose = isOfAll ? "All actions are frozen" : "Its actions are frozen";
  return h("span.row", null,
    h("span", null, `${whose} since ${moment(frozen.at)} by `, bdi(frozen.actor), ": ", bdi(frozen.reason, REASON)),
    isOfAll && of !== null ? h("a", { href: "#/actions" }, "Thaw all")
      : may("act", of) && h("button", { type: "button", onclick: () => ask("thaw", of) }, "Thaw"));
}

/**
 * That the actions of a service are frozen, on pages about something of it.
 * @param {ActionEvent | null | undefined} frozen
 */
export function notice(frozen) {
  if (!frozen || frozen.service === "_ops") return "";
  return h("p.freeze", null, h("span.row", null, h("span", null, "The actions of ", bdi(frozen.service), ` are frozen since ${moment(frozen.at)} by `,
    bdi(frozen.actor), ": ", bdi(frozen.reason, REASON)), h("a", { href: serviceLink(frozen.service) }, "To the service")));
}

/** What it means, said before it is done. */
const MEANS = {
  freeze: "Nothing that has not begun is begun any more. Pages still go out. What is refused meanwhile is not made up for.",
  thaw: "Actors carry out what is asked for from now on. What was refused meanwhile stays refused.",
};

/**
 * Asks for a reason and a confirmation, then does it.
 * @param {"freeze" | "thaw"} what
 * @param {string | null} of
 */
export function ask(what, of) {
  const verb = what === "freeze" ? "Freeze" : "Thaw";
  confirm({
    title: [`${verb} ${of === null ? "all actions" : "the actions of "}`, of !== null && bdi(of), "?"],
    says: [h("p", null, MEANS[what])], verb, isDanger: what === "freeze",
    carryOut: (reason) => hand(what, of, reason),
  });
}
