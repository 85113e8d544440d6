// @ts-check
// Asks for a reason and a confirmation before something is done, and says it if it was not.
import { h } from "./dom.js";

/** A reason is a sentence, not a file. */
export const REASON = 300;

/**
 * What is asked.
 * @typedef {object} Question
 * @property {import("./dom.js").Child[]} title
 * @property {import("./dom.js").Child[]} says what it means, before it is done
 * @property {string} verb of the button that does it
 * @property {boolean} isDanger
 * @property {(reason: string) => Promise<unknown>} carryOut
 * @property {(error: unknown) => { text: string, isFinal: boolean }} [told] a refusal in words, and whether trying again is no use
 * @property {(settle: (why: string) => void, signal: AbortSignal) => void} [watch] tells when there is nothing to decide any more
 */

/** @param {unknown} error */
const plainly = (error) => ({ text: `Nothing was changed: ${error instanceof Error ? error.message : error}`, isFinal: false });

/** @param {Question} question */
export function confirm({ title, says, verb, isDanger, carryOut, told = plainly, watch }) {
  const control = new AbortController();
  let isSent = false;
  const reason = h("input", { id: "reason", maxlength: REASON, "aria-describedby": "means", autocomplete: "off" });
  const refused = h("p.error", { hidden: true, role: "alert" });
  const yes = h("button", { type: "button", disabled: true, id: "confirm", class: isDanger ? "danger" : "primary" }, verb);
  const no = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const dialog = h("dialog", { "aria-labelledby": "asked" },
    h("h2", { id: "asked" }, ...title), h("div", { id: "means" }, ...says),
    h("label", { for: "reason" }, "Reason, for the record"), reason, refused,
    h("div.row.end", null, no, yes));
  const end = (/** @type {string} */ text) => {
    refused.textContent = text;
    refused.hidden = false;
    yes.hidden = true;
    reason.disabled = true;
    no.textContent = "Close";
    no.focus();
  };
  const send = async () => {
    yes.disabled = true;
    isSent = true;
    try {
      await carryOut(reason.value.trim());
      dialog.close();
    } catch (error) {
      isSent = false;
      const { text, isFinal } = told(error);
      if (isFinal) {
        end(text);
        return;
      }
      refused.textContent = text;
      refused.hidden = false;
      yes.disabled = false;
    }
  };
  reason.addEventListener("input", () => {
    yes.disabled = isSent || !reason.value.trim();
  });
  reason.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !yes.disabled && !yes.hidden) void send();
  });
  yes.addEventListener("click", () => void send());
  dialog.addEventListener("close", () => {
    control.abort();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  reason.focus();
  // What one does oneself settles it too: that is no news.
  watch?.((why) => isSent || yes.hidden || end(why), control.signal);
}
