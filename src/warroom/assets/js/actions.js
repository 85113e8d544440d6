// @ts-check
// The page of all actions: what is frozen, what was asked for, what was done, what helped.
import * as api from "./api.js";
import { fill, h } from "./dom.js";
import { plural } from "./format.js";
import { control } from "./freeze.js";
import { deedRows } from "./lists.js";
import { store } from "./store.js";
import { bdi } from "./text.js";

const LIMIT = 200;
/** News come in bursts; the list is asked for once. */
const TOGETHER_MS = 300;

/**
 * @param {HTMLElement} root
 * @param {import("./router.js").Route} _route
 * @param {AbortSignal} signal
 */
export function mount(root, _route, signal) {
  const frozen = h("section.box.hands");
  const list = h("section.box", null, h("p.empty", null, "Loading ..."));
  const failed = h("p.error", { hidden: true });
  document.title = "Actions · war room";
  fill(root, h("h1", null, "Actions"), failed, frozen, list);
  const load = async () => {
    try {
      const all = await api.actions({ limit: LIMIT }, signal);
      showFrozen(frozen, all.frozen);
      fill(list, h("h2", null, `The last ${plural(all.actions.length, "action")}`), deedRows(all.actions));
      failed.hidden = true;
    } catch (error) {
      if (signal.aborted) return;
      failed.textContent = `The actions cannot be shown: ${error instanceof Error ? error.message : error}`;
      failed.hidden = false;
    }
  };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let soon;
  const later = () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      void load();
    }, TOGETHER_MS);
  };
  signal.addEventListener("abort", () => clearTimeout(soon));
  store.on("action", later, signal);
  store.on("incident", (event) => event.event === "requested" && later(), signal);
  store.on("services", (/** @type {import("./store.js").Change} */ change) => (change.isReset || change.moved.length) && later(), signal);
  void load();
}

/**
 * @param {HTMLElement} box
 * @param {import("./contract.d.ts").ActionEvent[]} frozen
 */
function showFrozen(box, frozen) {
  const ofAll = frozen.find((event) => event.service === "_ops") ?? null;
  const others = frozen.filter((event) => event !== ofAll);
  fill(box, h("h2", null, "Freeze"),
    h("p.freeze", null, control(ofAll, null)),
    !ofAll && !others.length && h("p.note", null, "Nothing is frozen. A freeze stops all actions but pages, until it is thawed."),
    ...others.map((event) => h("div.freeze", null, h("b", null, bdi(event.service)), ": ", control(event, event.service))));
}
