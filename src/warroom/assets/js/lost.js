// @ts-check
// An address that leads nowhere.
import { fill, h } from "./dom.js";

/** @param {HTMLElement} root */
export function mount(root) {
  fill(root, h("h1", null, "There is no such page"), h("p", null, h("a", { href: "#/" }, "To the wall")));
}
