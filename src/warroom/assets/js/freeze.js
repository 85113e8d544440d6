// @ts-check
// The human's hand: stops all actions, or those of one service, and lets them go on. Its state is on every page.
import { hand } from "./api.js";
import { fill, h } from "./dom.js";
import { moment } from "./format.js";
import { store } from "./store.js";
import { bdi } from "./text.js";

/** @typedef {import("./contract.d.ts").ActionEvent} ActionEvent */

/** A reason is a sentence, not a file. */
const REASON = 300;

/**
 * The state of the freeze of all, and the way to change it, in the head of the page.
 * @param {HTMLElement} hold
 */
export function showIn(hold) {
  const show = () => {
    const { frozen } = store;
    fill(hold, frozen
      ? h("a.hold", { href: "#/actions", title: `since ${moment(frozen.at)}` }, "Actions frozen by ", bdi(frozen.actor, 40), ": ", bdi(frozen.reason, 80))
      : h("button", { type: "button", id: "freeze", onclick: () => ask("freeze", null) }, "Freeze actions"));
  };
  store.on("frozen", show);
  show();
}

/**
 * What is frozen, and a button to change it.
 * @param {ActionEvent | null} frozen what says so, if it is
 * @param {string | null} of a service, or all
 */
export function control(frozen, of) {
  if (!frozen) {
    const text = of === null ? "Freeze all actions" : "Freeze its actions";
    return h("button", { type: "button", onclick: () => ask("freeze", of) }, text);
  }
  const isOfAll = frozen.service === "_ops";
  const whose = isOfAll ? "All actions are frozen" : "Its actions are frozen";
  return h("span.row", null,
    h("span", null, `${whose} since ${moment(frozen.at)} by `, bdi(frozen.actor), ": ", bdi(frozen.reason, REASON)),
    isOfAll && of !== null ? h("a", { href: "#/actions" }, "Thaw all")
      : h("button", { type: "button", onclick: () => ask("thaw", of) }, "Thaw"));
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
  const reason = h("textarea", { id: "reason", maxlength: REASON, "aria-describedby": "means" });
  const refused = h("p.error", { hidden: true, role: "alert" });
  const confirm = h("button", { type: "button", disabled: true, id: "confirm" }, verb);
  if (what === "freeze") confirm.classList.add("danger");
  const dialog = h("dialog", { "aria-labelledby": "asked" },
    h("h2", { id: "asked" }, `${verb} ${of === null ? "all actions" : "the actions of "}`, of !== null && bdi(of), "?"),
    h("p", { id: "means" }, MEANS[what]),
    h("label", { for: "reason" }, "Reason, for the record"), reason, refused,
    h("div.row.end", null, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), confirm));
  reason.addEventListener("input", () => {
    confirm.disabled = !reason.value.trim();
  });
  confirm.addEventListener("click", async () => {
    confirm.disabled = true;
    try {
      await hand(what, of, reason.value.trim());
      dialog.close();
    } catch (error) {
      refused.textContent = `Nothing was changed: ${error instanceof Error ? error.message : error}`;
      refused.hidden = false;
      confirm.disabled = false;
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  reason.focus();
}
