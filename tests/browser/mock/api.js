// @ts-check
// The requests of the contract, answered from a simulated fleet.
import { noise } from "./numbers.js";

/** @typedef {import("./world.js").World} World */
/** @typedef {import("./world.js").Service} Service */
/** @typedef {import("node:http").IncomingMessage} IncomingMessage */
/** @typedef {import("node:http").ServerResponse} ServerResponse */

/** @param {ServerResponse} response @param {unknown} body @param {number} [status] */
function send(response, body, status = 200) {
  response.writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json" });
  response.end(JSON.stringify(body));
}

/** @param {ServerResponse} response @param {number} status @param {string} detail @param {string} [word] */
export const refuse = (response, status, detail, word = "refused") =>
  send(response, { type: `urn:hms-ops:problem:${word}`, title: "refused", status, detail }, status);

/** @typedef {import("../../../src/warroom/assets/js/contract.d.ts").Me} Me */

/** @param {World} whole @param {Me} me @param {IncomingMessage} request @param {ServerResponse} response @param {URL} url */
export async function answer(whole, me, request, response, url) {
  const [kind, id, what] = url.pathname.split("/").slice(3).map(decodeURIComponent);
  const world = seenBy(whole, me);
  if (request.method === "POST") return hand(whole, me, request, response, [kind, id, what]);
  if (kind === "approvals") return send(response, { now: world.now(), approvals: world.approvals().filter((one) => world.services.has(one.service)) });
  if (kind === "incidents" && what === "explain") return explain(world, id, response);
  if (kind === "incidents" && what === "vault") return vault(world, id, response);
  const service = kind === "services" && id ? world.services.get(id) : undefined;
  if (kind === "services" && id && !service) return refuse(response, 404, `there is no service ${id}`);
  if (service && what === "series") return send(response, series(world, service, url.searchParams));
  if (service && what === "live") return live(world, service, url.searchParams.get("sensor") ?? "", request, response);
  if (service) return send(response, detail(world, service));
  if (kind === "services") return send(response, { now: world.now(), services: [...world.services.values()].map((one) => world.status(one)) });
  if (kind === "incidents" && id) return incident(world, id, response);
  if (kind === "incidents") return send(response, { now: world.now(), incidents: incidents(world, url.searchParams) });
  if (kind === "actions") return send(response, actions(world, url.searchParams));
  return refuse(response, 404, "there is nothing here");
}

/** The part of the fleet that is somebody's business. @param {World} world @param {Me} me @returns {World} */
function seenBy(world, me) {
  if (me.services.includes("*")) return world;
  const services = new Map([...world.services].filter(([id]) => me.services.some((of) => (of.endsWith("*") ? id.startsWith(of.slice(0, -1)) : id === of))));
  return Object.create(world, { services: { value: services } });
}

/** @param {IncomingMessage} request */
export async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : {};
}

/** @param {World} world @param {Me} me @param {IncomingMessage} request @param {ServerResponse} response @param {string[]} path */
async function hand(world, me, request, response, [kind, id, what]) {
  if (request.headers["x-ops"] !== "1") return refuse(response, 403, "the header x-ops is missing");
  if (!me.rights.includes("act")) return refuse(response, 403, "this token may read and no more");
  if (kind === "actions") return decide(world, me, request, response, id, what);
  if (kind !== "freeze" && kind !== "thaw") return refuse(response, 404, "there is nothing here");
  const { service, reason } = await body(request);
  if (service !== null && !world.services.has(service)) return refuse(response, 404, "there is no such service");
  if (!me.services.includes("*") && (service === null || !seenBy(world, me).services.has(service))) return refuse(response, 403, "that is another's");
  world.hand(service, reason, kind === "freeze");
  return send(response, {});
}

/** @param {World} world @param {Me} me @param {IncomingMessage} request @param {ServerResponse} response @param {string} id @param {string} what */
async function decide(world, me, request, response, id, what) {
  const { reason, hash } = await body(request);
  const asked = world.waiting.get(id);
  const known = [...world.services.values()].flatMap((service) => service.deeds).find((deed) => deed.action_id === id);
  if (!known || (what !== "approve" && what !== "deny")) return refuse(response, 404, "there is no such action");
  const word = known.events.findLast((event) => event.event === "approved" || event.event === "rejected");
  if (!asked && word) return refuse(response, 409, `${word.actor} has ${word.event} it already`, "answered");
  if (!asked || asked.expires_at <= world.now()) return refuse(response, 409, "its time was over at 12:00:00Z", "expired");
  if (hash !== asked.hash) return refuse(response, 409, "the hash is not that of what waits: look again at what would be done", "other_hash");
  if (!reason?.trim()) return refuse(response, 400, "a reason is missing");
  world.decide(id, what === "approve", me.name ?? "operator", reason);
  return send(response, known.events.at(-1));
}

/** @param {World} world @param {string} id @param {ServerResponse} response */
async function explain(world, id, response) {
  const service = [...world.services.values()].find((one) => one.events.has(id));
  if (!service) return refuse(response, 404, `there is no incident ${id}`);
  await new Promise((resolve) => setTimeout(resolve, world.explainMs));
  const facts = [
    ["spec", "9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c, line 8: threshold: 30"], ["window", "(2026-11-29 00:43:31.000, 2026-11-29 00:48:31.000]"],
    ["verdict", "31 of 291 over 30; the rank is 277, so 14 are allowed: breached"], ["readings", "offsets 88102..88392 of ops.metrics/2: 291 counted in the window, 31 over"],
    ["opened", "opened by slo, offset 1004"],
    [world.isConfirmed ? "confirmed" : "differs", `computed again from records 87012..91004 of ops.metrics/2${world.isConfirmed ? ": every byte is the same" : ""}`],
  ];
  const difference = world.isConfirmed ? [] : ["published at offset 1004:  opened n 291 over 31", "computed:                  opened n 291 over 29"];
  const text = [...facts.map(([name, said]) => `${name.padEnd(10)}  ${said}`), ...difference];
  const evidence = facts.map(([name, said]) => ({ name, text: said }));
  return send(response, { now: world.now(), incident: id, confirmed: world.isConfirmed, text, evidence });
}

/** @param {World} world @param {string} id @param {ServerResponse} response */
function vault(world, id, response) {
  if (!world.hasVault) return refuse(response, 404, "the server was started without a vault", "no_vault");
  const events = [...world.services.values()].flatMap((one) => one.events.get(id) ?? []);
  const entries = events.map(({ event, at, partition = 0, offset = 0 }, i) => ({ topic: "ops.incidents", partition, offset, position: 412 + i, event, at }));
  return send(response, { now: world.now(), origin: "dca.hms-dta", entries, checkpoint: { size: 431, root: "c0ffee".repeat(10) }, damage: world.damage });
}

/** @param {World} world @param {Service} service */
function detail(world, service) {
  const text = `id: ${service.id}\nowner: ${service.owner}\nsensors:\n  - name: queue_time_seconds\n    scrape_url: http://scanner.local/metrics\n  - name: error_rate\nslo:\n  target: queue_time_seconds\n  threshold: ${service.threshold}      # seconds\n  window_seconds: 300\nplaybook:\n  - if: slo_breach\n    then: scale_up compute=+2\n  - if: still_breach_after 60\n    then: page channel=tsa_ops, severity=critical\n  - always:\n    log_to: HMS-DTA\n`;
  const sensor = { interval_ms: 1000, no_data_after_ms: 30_000, is_event: false };
  return {
    ...world.status(service),
    registered: { text, hash: "9f2c".repeat(16), owner: service.owner, by: "ops register, maria", registered_at: world.now() - 86_400_000 },
    explained: EXPLAINED.map((line) => line.replaceAll("THRESHOLD", String(service.threshold))),
    sensors: service.mode === "no_slo" ? [] : [
      { name: "queue_time_seconds", unit: "seconds", scrape_url: "http://scanner.local/metrics", ...sensor },
      { name: "error_rate", unit: "ratio", scrape_url: null, ...sensor },
    ],
    slo: service.mode === "no_slo" ? null : {
      target: "queue_time_seconds", threshold: service.threshold, recover_threshold: 0.9 * service.threshold, objective_ppm: 950_000,
      min_samples: 10, window_ms: 300_000, step_ms: 1000, lateness_ms: 1000,
    },
    targets: [{ sensor: "queue_time_seconds", url: "http://scanner.local/metrics", state: service.mode === "no_data" ? "down" : "up", reason: service.mode === "no_data" ? "connection refused" : null, at: world.now() - 900 }],
  };
}

const EXPLAINED = [
  "DCA_Luggage_Scanner, owned by TSA", "", "Readings", "  queue_time_seconds (seconds): one about every 1 s, scraped from http://scanner.local/metrics; silence of 30 s is no data.", "",
  "Verdict", "  Every 1 s, over the readings of queue_time_seconds of the last 300 s:", "  breached if the 95 % nearest-rank percentile is above THRESHOLD; equal is healthy;",
  "  insufficient with fewer than 10 readings. Each instant waits 1 s for late readings.", "", "Incidents", "  `slo` opens as soon as the verdict is breached.", "",
  "Playbook", "  1. When `slo` opens: add 2 replicas to deployment scanner.", "  2. When the SLO's incident is 60 s old, or later, and fresh readings are still bad or missing: page channel tsa_ops (critical).",
  "  3. Always: everything is kept in HMS-DTA (with or without this line).",
];

/** @param {World} world @param {Service} service @param {URLSearchParams} query */
function series(world, service, query) {
  const sensor = query.get("sensor") ?? "";
  const [from, to, points] = ["from", "to", "points"].map((name) => Number(query.get(name) ?? 500));
  const bucket = Math.max(1, Math.ceil((to - from) / points / 10_000)) * 10_000;
  const made = [];
  const scale = sensor === "error_rate" ? 0.01 / service.threshold : 1;
  for (let at = Math.floor(from / bucket) * bucket + bucket; at <= Math.min(to, world.now()); at += bucket) {
    const mean = world.value(service, at) * 0.86 * scale;
    const isSilent = (service.mode === "no_data" || service.mode === "stale") && at > service.silentSince;
    if (!isSilent) {
      made.push({
        at, n: Math.round(bucket / 1000), over: mean * 1.1 > service.threshold ? 4 : 0,
        min: mean * (0.75 + 0.05 * noise(service.seed, at / 1000)), max: mean * (1.22 + 0.15 * noise(service.seed, at / 1000 + 1)), mean, p95_estimate: mean / 0.86,
      });
    }
  }
  return { service: service.id, sensor, from, to, points: made };
}

/** @param {World} world @param {Service} service @param {string} sensor @param {IncomingMessage} request @param {ServerResponse} response */
function live(world, service, sensor, request, response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  const scale = sensor === "error_rate" ? 0.01 / service.threshold : 1;
  const say = (/** @type {string} */ event, /** @type {unknown} */ data) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  const timer = setInterval(() => {
    if (service.mode === "no_data" || service.mode === "stale") return;
    const now = world.now();
    const readings = [{ ts: now - 300, value: world.reading(service, now - 300) * scale }];
    say("news", { readings, windows: [{ at: Math.floor(now / 1000) * 1000, n: 291, over: 3, p95: world.value(service, now) * scale }] });
  }, 1000);
  request.on("close", () => clearInterval(timer));
}

/** @param {World} world @param {URLSearchParams} query */
function incidents(world, query) {
  const made = [];
  for (const service of world.services.values()) {
    if (query.get("service") && query.get("service") !== service.id) continue;
    for (const [incident, events] of service.events) {
      const opened = events.find((event) => event.event === "opened");
      const ended = events.find((event) => event.event === "resolved" || event.event === "closed");
      if (!opened || (query.get("state") === "open" && ended) || (query.get("state") === "over" && !ended)) continue;
      const { n, over, rank, threshold, p95_estimate, window_from, window_to, cause, episode, flapping } = opened;
      made.push({
        incident, service: service.id, cause, opened_at: opened.at, ended_at: ended?.at ?? null, end: ended?.event ?? null, reason: ended?.reason ?? null,
        episode, flapping, n, over, rank, threshold, p95_estimate, window_from, window_to,
      });
    }
  }
  return made.sort((a, b) => b.opened_at - a.opened_at).slice(0, Number(query.get("limit") ?? 200));
}

/** @param {World} world @param {string} id @param {ServerResponse} response */
function incident(world, id, response) {
  for (const service of world.services.values()) {
    const events = service.events.get(id);
    if (!events) continue;
    const story = incidents(world, new URLSearchParams({ service: service.id })).find((one) => one.incident === id);
    return send(response, { now: world.now(), story, events, actions: service.deeds.filter((deed) => deed.incident === id) });
  }
  return refuse(response, 404, `there is no incident ${id}`);
}

/** @param {World} world @param {URLSearchParams} query */
function actions(world, query) {
  const of = query.get("service");
  const services = [...world.services.values()].filter((service) => !of || service.id === of);
  const deeds = services.flatMap((service) => service.deeds);
  const frozen = [world.frozen, ...services.map((service) => service.frozen)].filter((event) => event !== null);
  const at = (/** @type {import("./world.js").Deed} */ deed) => deed.request?.at ?? deed.events[0]?.at ?? 0;
  return { now: world.now(), frozen, actions: deeds.sort((a, b) => at(b) - at(a)).slice(0, Number(query.get("limit") ?? 200)) };
}
