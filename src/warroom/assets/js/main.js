// @ts-check
// The frame around every page: where one is, whether what is shown is live, whether actions are frozen. Starts the
// stream and mounts pages.
import { fill, h, say } from "./dom.js";
import { clock, span } from "./format.js";
import * as freeze from "./freeze.js";
import { parse } from "./router.js";
import { store } from "./store.js";
import { STREAM } from "./api.js";
import { follow } from "./stream.js";
import * as theme from "./theme.js";

/** @typedef {import("./router.js").Route} Route */
/** @typedef {(root: HTMLElement, route: Route, signal: AbortSignal) => ((next: Route) => void) | void} Mount */

/** Pages but the wall are loaded when they are first gone to. @type {{ [page: string]: () => Promise<{ mount: Mount }> }} */
const PAGES = {
  wall: () => import("./wall.js"),
  service: () => import("./service.js"),
  incident: () => import("./incident.js"),
  actions: () => import("./actions.js"),
  lost: () => import("./lost.js"),
};

const find = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const [main, banner, live, switcher, hold] = ["main", "banner", "live", "theme", "hold"].map(find);

/** @type {{ route: Route, control: AbortController, update: ((next: Route) => void) | void } | null} */
let open = null;

async function go() {
  const route = parse(location.hash);
  if (open && open.route.page === route.page && open.route.id === route.id) {
    open.route = route;
    open.update?.(route);
    return;
  }
  const isFirst = open === null;
  open?.control.abort();
  const mine = { route, control: new AbortController(), update: undefined };
  open = mine;
  const { mount } = await PAGES[route.page]();
  if (open !== mine) return;
  fill(main);
  document.title = "War room";
  scrollTo(0, 0);
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.getAttribute("href") === (route.page === "actions" ? "#/actions" : "#/");
    if (isHere) link.setAttribute("aria-current", route.page === "wall" || route.page === "actions" ? "page" : "true");
    else link.removeAttribute("aria-current");
  }
  const root = h("div.page", { "data-page": route.page });
  main.append(root);
  open.update = mount(root, route, mine.control.signal);
  // A reader is told of the new page, as by a page that was loaded.
  if (!isFirst) main.focus({ preventScroll: true });
}

function sayLink() {
  const { link } = store;
  document.documentElement.dataset.link = link;
  if (link === "gone") {
    const since = store.heardAt ? `What you see is as of ${clock(store.heardAt)}, ${span(store.now() - store.heardAt)} ago.` : "";
    say(banner, `The connection to the server is gone. ${since} Trying again by itself.`);
  }
  banner.hidden = link !== "gone";
  say(live, link === "live" ? clock(store.now()) : link === "gone" ? "not live" : "connecting");
}

function sayTheme() {
  const text = { auto: "Theme: auto", dark: "Theme: dark", light: "Theme: light" }[theme.chosen()];
  say(switcher, text);
}

store.on("link", sayLink);
setInterval(sayLink, 1000);
switcher.addEventListener("click", () => {
  theme.next();
  sayTheme();
});
sayTheme();
freeze.showIn(hold);
addEventListener("hashchange", () => void go());
find("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
follow(STREAM, {
  reset: (data) => store.reset(data),
  statuses: (data) => store.take(data),
  gone: (data) => store.drop(data),
  incident: (data) => store.incident(data),
  action: (data) => store.action(data),
  beat: (data) => store.beat(data.now),
}, (link) => store.turn(link));
void go();
