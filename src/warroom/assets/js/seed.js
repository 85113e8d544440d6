// @ts-check
// The past of the sparklines that are seen: asked for once a service, a few at a time, and only when the tile stays.
import * as api from "./api.js";
import { store } from "./store.js";
import { TRACE_MS } from "./trace.js";

/** So many services are asked about at a time. */
const AT_ONCE = 4;
const POINTS = 60;

/**
 * @param {AbortSignal} signal of the page
 * @param {(id: string) => void} seeded
 */
export function seeder(signal, seeded) {
  /** @type {string[]} */
  let wanted = [];
  let running = 0;

  const next = async () => {
    const id = wanted.shift();
    if (id === undefined) return;
    const trace = store.services.get(id)?.trace;
    if (trace && !trace.isSeeded) {
      trace.isSeeded = true;
      running += 1;
      await seed(id, trace, signal).then(() => seeded(id), () => {
        trace.isSeeded = false; // asked again when it is next seen
      });
      running -= 1;
    }
    if (!signal.aborted) await next();
  };
  /** Those that are seen now; who was seen before and was not asked about yet is forgotten. */
  return (/** @type {string[]} */ seen) => {
    wanted = seen.filter((id) => store.services.get(id)?.trace.isSeeded === false);
    while (running < AT_ONCE && wanted.length) void next();
  };
}

/**
 * @param {string} id
 * @param {import("./trace.js").Trace} trace
 * @param {AbortSignal} signal
 */
async function seed(id, trace, signal) {
  const { slo } = await api.service(id, signal);
  if (!slo) return;
  const to = store.now();
  const { points } = await api.series(id, { sensor: slo.target, from: to - TRACE_MS, to, points: POINTS }, signal);
  trace.seed(points);
}
