// @ts-check
// The wall: a tile a service, worst first. Only the tiles that are seen exist; all else is arithmetic (plan.js).
import { atMost, fill, h, onceAFrame, say } from "./dom.js";
import { count, plural } from "./format.js";
import { LOOKS, shape, WORDS } from "./look.js";
import { between, byOwner, byState, plan, sorted, step, tally } from "./plan.js";
import { seeder } from "./seed.js";
import { store } from "./store.js";
import { setBdi } from "./text.js";
import { Tile } from "./tile.js";
import { waiting } from "./waiting.js";

/** @typedef {import("./look.js").Look} Look */
/** @typedef {import("./plan.js").Plan} Plan */

/** Rows this far outside the window are made too, px. */
const MARGIN = 240;
/** Numbers that change are written so often, however often they come: more nobody reads, ms. */
const NEWS_MS = 500;
/** So long after news it is seen whose past is to be asked for, ms. */
const SEEN_MS = 400;
/** Sparklines move on so often without news, in ticks of a second. */
const REDRAW_TICKS = 10;

class Wall {
  /** @type {Map<string, Tile>} */
  tiles = new Map();
  /** @type {Map<string, HTMLElement>} */
  headings = new Map();
  /** @type {Plan} */
  plan = { rows: [], height: 0, order: [] };
  /** What the address says. @type {{ text: string, look: Look | null, group: "state" | "owner", kiosk: boolean }} */
  query = { text: "", look: null, group: "state", kiosk: false };
  /** The tile that the arrow keys are at. @type {string | null} */
  current = null;
  isOrderNew = true;
  /** Tiles with news. @type {Set<string>} */
  news = new Set();
  ticks = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  seen = undefined;

  /**
   * @param {HTMLElement} root
   * @param {URLSearchParams} params
   * @param {AbortSignal} signal
   */
  constructor(root, params, signal) {
    this.grid = h("div.grid", { role: "group", "aria-label": "Services, worst first", id: "grid" });
    this.empty = h("p.empty", { hidden: true });
    this.counts = h("div.counts", { role: "group", "aria-label": "Services by state; choose one to see only those" });
    this.said = h("p.unseen", { "aria-live": "polite" });
    this.search = h("input", {
      type: "search", placeholder: "Find a service or owner", "aria-label": "Find a service or owner", maxlength: 200,
      id: "search", autocomplete: "off", spellcheck: "false",
      oninput: () => this.go({ q: this.search.value || null }),
    });
    this.byState = this.toggle("By state", { group: null });
    this.byOwner = this.toggle("By owner", { group: "owner" });
    fill(root,
      h("h1.unseen", null, "The wall"), this.counts,
      h("div.tools", null, this.search,
        h("span.segments", { role: "group", "aria-label": "Grouped" }, this.byState, this.byOwner),
        h("a.button.kiosk-on", { href: "#kiosk", title: "Nothing but the tiles, for a screen on a wall" }, "Kiosk")),
      this.said, this.empty, this.grid);
    this.draw = onceAFrame(() => this.render());
    this.drawSoon = atMost(this.draw, NEWS_MS, signal);
    this.ask = seeder(signal, (id) => {
      this.news.add(id);
      this.draw();
    });
    this.listen(signal);
    this.update(params);
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    store.on("services", (/** @type {import("./store.js").Change} */ change) => {
      this.isOrderNew ||= change.isOrderNew;
      for (const id of change.ids) this.news.add(id);
      if (change.isOrderNew) this.draw();
      else this.drawSoon();
    }, signal);
    store.on("link", () => this.refresh(), signal);
    waiting.on(() => this.refresh(), signal);
    addEventListener("scroll", this.draw, { passive: true, signal });
    const sizes = new ResizeObserver(() => this.refresh());
    sizes.observe(this.grid);
    const timer = setInterval(() => this.tick(), 1000);
    signal.addEventListener("abort", () => {
      sizes.disconnect();
      clearInterval(timer);
      clearTimeout(this.seen);
      document.documentElement.classList.remove("kiosk");
    });
    this.grid.addEventListener("keydown", (event) => this.key(event), { signal });
    this.grid.addEventListener("focusin", (event) => this.focused(event), { signal });
    addEventListener("keydown", (event) => this.shortcut(event), { signal });
  }

  /**
   * @param {string} text
   * @param {{ [name: string]: string | null }} query
   */
  toggle(text, query) {
    return h("button", { type: "button", onclick: () => this.go(query) }, text);
  }

  /**
   * Writes what is chosen into the address; what stands there decides.
   * @param {{ [name: string]: string | null }} query
   */
  go(query) {
    const all = new URLSearchParams();
    const { text, look, group, kiosk } = this.query;
    const now = { q: text || null, state: look, group: group === "owner" ? group : null, kiosk: kiosk ? "1" : null, ...query };
    for (const [name, value] of Object.entries(now)) if (value !== null) all.set(name, value);
    history.replaceState(null, "", `#/${all.size ? `?${all}` : ""}`);
    this.update(all);
  }

  /** @param {URLSearchParams} params */
  update(params) {
    const look = params.get("state");
    this.query = {
      text: (params.get("q") ?? "").slice(0, 200),
      look: LOOKS.find((one) => one === look) ?? null,
      group: params.get("group") === "owner" ? "owner" : "state",
      kiosk: params.has("kiosk"),
    };
    if (this.search.value !== this.query.text) this.search.value = this.query.text;
    this.byState.setAttribute("aria-pressed", String(this.query.group === "state"));
    this.byOwner.setAttribute("aria-pressed", String(this.query.group === "owner"));
    document.documentElement.classList.toggle("kiosk", this.query.kiosk);
    this.grid.classList.toggle("by-owner", this.query.group === "owner");
    this.refresh();
  }

  /** All of it anew, at the next frame. */
  refresh() {
    this.isOrderNew = true;
    for (const id of this.tiles.keys()) this.news.add(id);
    this.draw();
  }

  measures() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    return {
      width: this.grid.clientWidth, gap: 0.6 * rem, heading: 2.4 * rem,
      big: { min: 17 * rem, height: 9.6 * rem }, small: { min: 12 * rem, height: 6.4 * rem },
      screen: innerHeight - (this.grid.getBoundingClientRect().top + scrollY),
    };
  }

  render() {
    if (!store.isKnown) return;
    if (this.isOrderNew) {
      this.isOrderNew = false;
      const entries = sorted(store.services.values(), this.query);
      const sections = this.query.group === "owner" ? byOwner(entries) : byState(entries);
      this.plan = plan(sections, this.measures());
      this.grid.style.height = `${Math.ceil(this.plan.height)}px`;
      this.sayEmpty(entries.length);
      this.sayCounts();
    }
    this.window();
  }

  /** Makes what is in sight, drops what is not, and says the news. */
  window() {
    const top = -this.grid.getBoundingClientRect().top;
    const rows = between(this.plan.rows, top - MARGIN, top + innerHeight + MARGIN);
    const places = rows.flatMap((row) => row.places);
    const focused = this.grid.contains(document.activeElement) ? this.current : null;
    // The tile with the focus stays, wherever it went.
    if (focused && !places.some((place) => place.key === focused)) {
      places.push(...this.plan.order.filter((place) => place.key === focused));
    }
    this.drop(new Set([...places.map((place) => place.key), ...rows.map((row) => row.heading?.key ?? "")]));
    const now = store.now();
    /** @type {HTMLElement[]} */
    const elements = [];
    let next = 0;
    for (const row of rows) {
      if (row.heading) elements.push(this.heading(row.heading));
      for (; next < places.length && row.places.includes(places[next]); next++) {
        elements.push(this.tile(places[next], now).root);
      }
    }
    for (; next < places.length; next++) elements.push(this.tile(places[next], now).root);
    this.news.clear();
    this.arrange(elements, focused);
    this.seen ??= setTimeout(() => {
      this.seen = undefined;
      this.ask([...this.tiles.keys()]);
    }, SEEN_MS);
  }

  /**
   * @param {import("./plan.js").Place} place
   * @param {number} now
   */
  tile(place, now) {
    let tile = this.tiles.get(place.key);
    if (!tile) {
      tile = new Tile(place.key);
      this.tiles.set(place.key, tile);
      this.news.add(place.key);
    }
    tile.put(place);
    tile.reach(place.key === (this.current ?? this.plan.order[0].key));
    const entry = store.services.get(place.key);
    if (entry && (tile.isBoxNew || this.news.has(place.key))) tile.show(entry, now, this.asOf());
    return tile;
  }

  /** @param {import("./plan.js").Heading} heading */
  heading({ key, y, section }) {
    let element = this.headings.get(key);
    if (!element) {
      element = h("h2.section", null, h("bdi"), h("span.tally"));
      this.headings.set(key, element);
    }
    element.style.transform = `translateY(${y}px)`;
    const [title, counts] = /** @type {[HTMLElement, HTMLElement]} */ ([...element.children]);
    setBdi(title, section.title, 80);
    const parts = tally(section);
    say(counts, section.isOwner ? parts.map(({ look, count: n }) => `${count(n)} ${WORDS[look].word}`).join(" · ")
      : count(section.entries.length));
    return element;
  }

  /** @param {Set<string>} keys */
  drop(keys) {
    for (const [key, tile] of this.tiles) {
      if (!keys.has(key)) {
        tile.root.remove();
        this.tiles.delete(key);
      }
    }
    for (const [key, heading] of this.headings) {
      if (!keys.has(key)) {
        heading.remove();
        this.headings.delete(key);
      }
    }
  }

  /**
   * Puts the elements in the order in which they are read.
   * @param {HTMLElement[]} elements
   * @param {string | null} focused
   */
  arrange(elements, focused) {
    let at = this.grid.firstElementChild;
    for (const element of elements) {
      if (element === at) at = at.nextElementSibling;
      else this.grid.insertBefore(element, at);
    }
    const tile = focused === null ? null : this.tiles.get(focused);
    // Who is moved in the tree loses the focus.
    if (tile && document.activeElement !== tile.root) tile.root.focus({ preventScroll: true });
  }

  asOf() {
    return store.link === "gone" ? store.heardAt : null;
  }

  tick() {
    const now = store.now();
    const isDue = ++this.ticks % REDRAW_TICKS === 0;
    for (const [id, tile] of this.tiles) {
      const entry = store.services.get(id);
      if (!entry) continue;
      tile.tick(entry, now, this.asOf());
      if (isDue) tile.draw(entry, now);
    }
  }

  sayCounts() {
    const shown = LOOKS.filter((look) => store.counts[look] || look === "healthy" || look === this.query.look);
    const texts = shown.map((look) => `${count(store.counts[look])} ${WORDS[look].word}`);
    document.title = store.counts.breached ? `${texts[0]} · war room` : "War room";
    say(this.said, texts.join(", "));
    const key = `${texts}|${this.query.look}`;
    if (this.counts.dataset.key === key) return;
    this.counts.dataset.key = key;
    const focused = this.counts.contains(document.activeElement) ? document.activeElement?.getAttribute("data-look") : null;
    fill(this.counts, ...shown.map((look) => this.countButton(look)));
    const again = [...this.counts.querySelectorAll("button")].find((button) => button.dataset.look === focused);
    again?.focus();
  }

  /** @param {Look} look */
  countButton(look) {
    const isChosen = this.query.look === look;
    return h("button.count", {
      type: "button", "data-look": look, "aria-pressed": String(isChosen), title: WORDS[look].means,
      onclick: () => this.go({ state: isChosen ? null : look }),
    }, shape(look), h("span.many", null, count(store.counts[look])), " ", h("span.what", null, WORDS[look].word));
  }

  /** @param {number} found */
  sayEmpty(found) {
    this.empty.hidden = found > 0;
    if (found) return;
    if (!store.services.size) {
      fill(this.empty, "No service is registered yet. ", h("code", null, "ops register FILE"), " registers one.");
    } else {
      fill(this.empty, `None of ${plural(store.services.size, "service")} matches. `,
        h("button", { type: "button", onclick: () => this.go({ q: null, state: null }) }, "Show all"));
    }
  }

  /** @param {FocusEvent} event */
  focused(event) {
    const link = /** @type {Element} */ (event.target).closest("a.tile");
    for (const [key, tile] of this.tiles) {
      if (tile.root !== link || key === this.current) continue;
      for (const other of this.tiles.values()) other.reach(other === tile);
      this.current = key;
    }
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const at = this.plan.order.findIndex((place) => place.key === this.current);
    const to = at < 0 ? null : step(this.plan, at, event.key);
    if (to === null) return;
    event.preventDefault();
    const place = this.plan.order[to];
    this.current = place.key;
    this.reveal(place);
    this.window();
    this.tiles.get(place.key)?.root.focus({ preventScroll: true });
  }

  /** @param {import("./plan.js").Place} place */
  reveal({ y, height }) {
    const grid = this.grid.getBoundingClientRect().top;
    const head = document.querySelector(".head")?.getBoundingClientRect().bottom ?? 0;
    const [top, bottom] = [grid + y, grid + y + height];
    if (top < head + 48) scrollBy(0, top - head - 48);
    else if (bottom > innerHeight - 16) scrollBy(0, bottom - innerHeight + 16);
  }

  /** @param {KeyboardEvent} event */
  shortcut(event) {
    const isTyping = event.target instanceof HTMLInputElement;
    if (event.key === "/" && !isTyping) {
      event.preventDefault();
      this.search.focus();
    } else if (event.key === "Escape") {
      if (this.query.kiosk) this.go({ kiosk: null });
      else if (isTyping && this.query.text) this.go({ q: null });
    }
  }
}

/**
 * @param {HTMLElement} root
 * @param {import("./router.js").Route} route
 * @param {AbortSignal} signal
 */
export function mount(root, route, signal) {
  const wall = new Wall(root, route.params, signal);
  return (/** @type {import("./router.js").Route} */ next) => wall.update(next.params);
}
