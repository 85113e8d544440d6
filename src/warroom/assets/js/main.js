// @ts-check
// The frame around every page: who one is, where one is, whether what is shown is live, whether actions are frozen and
// how many wait. Starts the stream and mounts pages.
import { fill, h, say } from "./dom.js";
import { clock, count, span } from "./format.js";
import * as freeze from "./freeze.js";
import { parse } from "./router.js";
import * as session from "./session.js";
import { store } from "./store.js";
import { STREAM, whyNoStream } from "./api.js";
import { follow } from "./stream.js";
import { bdi } from "./text.js";
import * as theme from "./theme.js";
import { waiting } from "./waiting.js";

/** @typedef {import("./router.js").Route} Route */
/** @typedef {(root: HTMLElement, route: Route, signal: AbortSignal) => ((next: Route) => void) | void} Mount */

/** Pages but the wall are loaded when they are first gone to. @type {{ [page: string]: () => Promise<{ mount: Mount }> }} */
const PAGES = {
  wall: () => import("./wall.js"),
  service: () => import("./service.js"),
  incident: () => import("./incident.js"),
  actions: () => import("./actions.js"),
  approvals: () => import("./approvals.js"),
  login: () => import("./login.js"),
  lost: () => import("./lost.js"),
};
/** Those that the head leads to; all others belong to the wall. */
const IN_HEAD = new Set(["wall", "actions", "approvals"]);

const find = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const [main, banner, live, switcher, hold, who, asks] = ["main", "banner", "live", "theme", "hold", "who", "asks"].map(find);

/** @type {{ route: Route, control: AbortController, update: ((next: Route) => void) | void } | null} */
let open = null;

async function go() {
  const asked = parse(location.hash);
  /** @type {Route} */
  const route = session.mustLogIn() ? { ...asked, page: "login", id: "" } : asked;
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
  document.documentElement.dataset.page = route.page;
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.getAttribute("href") === (IN_HEAD.has(route.page) && route.page !== "wall" ? `#/${route.page}` : "#/");
    if (isHere) link.setAttribute("aria-current", IN_HEAD.has(route.page) ? "page" : "true");
    else link.removeAttribute("aria-current");
  }
  const root = h("div.page", { "data-page": route.page });
  main.append(root);
  open.update = mount(root, route, mine.control.signal);
  // A reader is told of the new page, as by a page that was loaded.
  if (!isFirst && route.page !== "login") main.focus({ preventScroll: true });
}

/** Ends the stream, or what stands in for it. @type {(() => void) | null} */
let end = null;
/** Is the fleet asked about again and again, for the stream is not for such as one? */
let isPolling = false;

function begin() {
  if (end) return;
  const turn = (/** @type {import("./stream.js").Link} */ link) => store.turn(link);
  if (!isPolling) {
    end = follow(STREAM, {
      reset: (data) => store.reset(data),
      statuses: (data) => store.take(data),
      gone: (data) => store.drop(data),
      incident: (data) => store.incident(data),
      action: (data) => store.action(data),
      beat: (data) => store.beat(data.now),
    }, turn, () => void askWhy());
    return;
  }
  let isEnded = false;
  end = () => {
    isEnded = true;
  };
  void import("./poll.js").then(({ poll }) => {
    if (isEnded) return;
    end = poll((all) => store.polled(all), (link, refused) => {
      refusal = refused?.message ?? "";
      turn(link);
    });
  });
}

function stop() {
  end?.();
  end = null;
}

/** One is somebody else, or the server has said who one is. */
function meet() {
  const me = session.who();
  const isOut = session.mustLogIn();
  stop();
  if (isOut) store.forget();
  isPolling = session.isPartial();
  document.documentElement.dataset.login = isOut ? "needed" : "done";
  fill(who, me?.name && h("span.who", null, bdi(me.name, 40), !me.rights.includes("act") && h("small", null, " (reads only)")),
    me?.name && me.login === "token" && h("button", { type: "button", id: "logout", onclick: () => void session.logOut().catch(() => {}) }, "Log out"));
  // What one may stands on the pages too: they are made anew.
  open?.control.abort();
  if (open) open = { ...open, route: { ...open.route, page: "lost", id: "" } };
  if (!isOut) begin();
  sayLink();
  void go();
}

/** Why the server refuses, if it is there and does: a stream cannot tell that from a server that is gone. */
let refusal = "";

async function askWhy() {
  const why = await whyNoStream();
  refusal = why?.message ?? "";
  if (why?.status === 403 && !isPolling) {
    // It is there, and not for this one.
    refusal = "";
    isPolling = true;
    stop();
    begin();
  }
  if (why?.status === 401) await session.ask().catch(() => {});
  sayLink();
}

function sayLink() {
  const { link } = store;
  document.documentElement.dataset.link = link;
  const isGone = link === "gone" && !session.mustLogIn();
  if (isGone) {
    const since = store.heardAt ? `What you see is as of ${clock(store.heardAt)}, ${span(store.now() - store.heardAt)} ago.` : "";
    const what = refusal ? `The server answers, and refuses: ${refusal}.` : "The connection to the server is gone.";
    say(banner, `${what} ${since} Trying again by itself.`);
  }
  banner.hidden = !isGone;
  say(live, link === "live" ? `${clock(store.now())}${isPolling ? ", live every 5 s" : ""}` : isGone ? "not live" : "connecting");
}

function sayTheme() {
  // On a phone there is no room for the first word.
  fill(switcher, h("span", null, "Theme: "), theme.chosen());
  switcher.setAttribute("aria-label", `Theme: ${theme.chosen()}`);
}

/** How many wait for a human's word, in the head of every page. */
function sayWaiting() {
  const { length } = waiting.list;
  asks.classList.toggle("some", length > 0);
  fill(asks, "Approvals", length > 0 && " ", length > 0 && h("b.number", null, count(length)), length > 0 && h("span.unseen", null, " waiting"));
}

store.on("link", (link) => {
  if (link === "live") refusal = "";
  sayLink();
  if (link === "live" && !session.who()) void session.ask().catch(() => {});
});
setInterval(sayLink, 1000);
switcher.addEventListener("click", () => {
  theme.next();
  sayTheme();
});
sayTheme();
waiting.on(sayWaiting);
sayWaiting();
freeze.showIn(hold);
addEventListener("hashchange", () => void go());
find("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
session.onChange(meet);
// A server that does not say who one is may say so later; what may be read is shown meanwhile.
session.ask().catch(() => {
  begin();
  void go();
});
