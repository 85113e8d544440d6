// @ts-check
// The contract of the server in plain node, without dependencies, over a simulated fleet: `npm run mock -- 200 8081`.
// Serves the very files that the real one embeds, under the same content security policy.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { randomUUID } from "node:crypto";
import { answer, body, refuse } from "./api.js";
import { exhibition } from "./world.js";

/** @typedef {import("./world.js").World} World */
/** @typedef {import("./api.js").Me} Me */

const ASSETS = fileURLToPath(new URL("../../../src/warroom/assets/", import.meta.url));
const TYPES = /** @type {{ [ext: string]: string }} */ ({
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
});
export const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/** Whoever comes, where no tokens are. @type {Me} */
const ANYBODY = { login: "none", name: null, rights: ["emit", "read", "act"], services: ["*"], version: "0.1.0" };
/** @type {Me} */
const NOBODY = { login: "token", name: null, rights: [], services: [], version: "0.1.0" };
/** So many events can be resumed. */
const KEPT = 2000;

export class Mock {
  /** @type {Set<import("node:http").ServerResponse>} */
  streams = new Set();
  /** How the streams began, the newest last: with everything, or where the client was. @type {("reset" | "resume")[]} */
  begun = [];
  /** Whether it says anything on its streams. */
  isBeating = true;
  /** Who comes with which token; none: the server asks for none. @type {{ [token: string]: { name: string, rights: string[], services: string[] } } | null} */
  tokens = null;
  /** By the cookie's value. @type {Map<string, Me>} */
  sessions = new Map();
  /** @type {import("node:http").Server | null} */
  #server = null;
  #epoch = 0;
  #number = 0;
  /** @type {{ id: number, text: string }[]} */
  #kept = [];
  /** @type {ReturnType<typeof setInterval>[]} */
  #timers = [];

  /**
   * @param {World} world
   * @param {number} [port] 0: any
   */
  constructor(world, port = 0) {
    this.world = world;
    this.port = port;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** A new life: what was kept for resuming is gone. */
  async start() {
    this.#epoch = Date.now();
    this.#number = 0;
    this.#kept = [];
    this.world.emit = (event, data) => this.emit(event, data);
    const server = createServer((request, response) => void this.#answer(request, response));
    await new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.port, "127.0.0.1", () => resolve(undefined));
    });
    const address = server.address();
    if (typeof address === "object" && address) this.port = address.port;
    this.#server = server;
    this.#timers = [setInterval(() => this.isBeating && this.emit("beat", { now: this.world.now() }), 5000)];
    return this;
  }

  async stop() {
    this.#timers.forEach(clearInterval);
    const server = this.#server;
    this.#server = null;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    this.streams.clear();
  }

  /** Ends the streams, as a network does; the server lives on. */
  hangUp() {
    for (const stream of this.streams) stream.destroy();
    this.streams.clear();
  }

  /** @param {string} event @param {unknown} data */
  emit(event, data) {
    const id = ++this.#number;
    const text = `id: ${this.#epoch}-${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    this.#kept.push({ id, text });
    if (this.#kept.length > KEPT) this.#kept.shift();
    if (this.isBeating) for (const stream of this.streams) stream.write(text);
  }

  /** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
  async #answer(request, response) {
    const url = new URL(request.url ?? "/", this.url);
    response.setHeader("content-security-policy", CSP);
    response.setHeader("x-content-type-options", "nosniff");
    if (!url.pathname.startsWith("/api/")) return this.#file(url.pathname, response);
    const me = this.#who(request);
    const what = url.pathname.slice("/api/v1/".length);
    if (what === "me") return json(response, me);
    if (what === "login") return this.#logIn(request, response);
    if (what === "logout") return this.#logOut(request, response);
    if (!me.rights.includes("read")) return refuse(response, 401, "no token is shown", "unauthorized");
    if (what !== "stream") return answer(this.world, me, request, response, url);
    if (!me.services.includes("*")) return refuse(response, 403, "the stream tells of all services", "forbidden");
    return this.#stream(request, response);
  }

  /** @param {import("node:http").IncomingMessage} request @returns {Me} */
  #who(request) {
    if (!this.tokens) return ANYBODY;
    const cookie = String(request.headers.cookie ?? "").match(/ops_session=([\w-]+)/)?.[1] ?? "";
    return this.sessions.get(cookie) ?? NOBODY;
  }

  /** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
  async #logIn(request, response) {
    const { token } = await body(request);
    const known = request.headers["x-ops"] === "1" ? this.tokens?.[token] : undefined;
    if (!known) return refuse(response, 401, "no such token", "unauthorized");
    const me = { ...NOBODY, ...known };
    const id = randomUUID();
    this.sessions.set(id, me);
    response.setHeader("set-cookie", `ops_session=${id}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200`);
    return json(response, me);
  }

  /** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
  #logOut(request, response) {
    this.sessions.delete(String(request.headers.cookie ?? "").match(/ops_session=([\w-]+)/)?.[1] ?? "");
    response.writeHead(204, { "set-cookie": "ops_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0" }).end();
  }

  /** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
  #stream(request, response) {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.flushHeaders();
    if (!this.isBeating) return; // a line on which nobody speaks
    const [epoch, number] = String(request.headers["last-event-id"] ?? "").split("-").map(Number);
    const oldest = this.#kept[0]?.id ?? 1;
    const isResumed = epoch === this.#epoch && number + 1 >= oldest;
    this.begun.push(isResumed ? "resume" : "reset");
    if (isResumed) for (const { id, text } of this.#kept) if (id > number) response.write(text);
    if (!isResumed) {
      const services = [...this.world.services.values()].map((service) => this.world.status(service));
      response.write(`id: ${this.#epoch}-${this.#number}\nevent: reset\ndata: ${JSON.stringify({ now: this.world.now(), services })}\n\n`);
    }
    this.streams.add(response);
    request.on("close", () => this.streams.delete(response));
  }

  /** @param {string} path @param {import("node:http").ServerResponse} response */
  async #file(path, response) {
    const name = path === "/" ? "index.html" : normalize(decodeURIComponent(path)).replace(/^(\.\.[/\\])+/, "");
    const type = TYPES[extname(name)];
    const body = type ? await readFile(join(ASSETS, name)).catch(() => null) : null;
    if (!body) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": type, "content-encoding": "gzip", "cache-control": "no-cache" });
    response.end(gzipSync(body));
  }
}

/** @param {import("node:http").ServerResponse} response @param {unknown} what */
function json(response, what) {
  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(what));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [count = "200", port = "8081"] = process.argv.slice(2);
  const mock = await new Mock(exhibition(Number(count)), Number(port)).start();
  const all = [...mock.world.services.keys()];
  setInterval(() => mock.world.tell(...all), 1000);
  console.log(mock.url);
}
