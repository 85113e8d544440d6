// @ts-check
// Asks for the token. Where one wanted to go stays in the address; the frame goes there when one is known.
import { Refused } from "./api.js";
import { fill, h } from "./dom.js";
import * as session from "./session.js";

/** @param {HTMLElement} root */
export function mount(root) {
  const token = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true, maxlength: 4096 });
  const enter = h("button.primary", { type: "submit" }, "Log in");
  const refused = h("p.error", { role: "alert", hidden: true });
  const tell = (/** @type {string} */ text) => {
    refused.textContent = text;
    refused.hidden = !text;
  };
  const submit = async () => {
    enter.disabled = true;
    tell("");
    try {
      await session.logIn(token.value);
    } catch (error) {
      enter.disabled = false;
      const isWrong = error instanceof Refused && error.status === 401;
      tell(isWrong ? "That token is not known here." : `Not logged in: ${error instanceof Error ? error.message : error}.`);
      token.select();
      token.focus();
    }
  };
  document.title = "Log in · war room";
  fill(root, h("form.login", {
    onsubmit: (event) => {
      event.preventDefault();
      void submit();
    },
  },
  h("h1", null, "Log in"),
  h("p.note", null, "This war room is for those who have a token. Whoever runs it hands them out."),
  h("label", { for: "token" }, "Token"), token, refused,
  h("div.row.end", null, enter)));
  token.focus();
}
