// @ts-check
// The graph of one sensor: readings, p95 and threshold, with the window, incidents and actions on the time axis.
import uPlot from "../vendor/uPlot.js";
import { clock, moment, num, words } from "./format.js";
import { cut, visible } from "./text.js";
import { color } from "./theme.js";

/** @typedef {{ at: number, text: string, isBad: boolean }} Mark */
/** @typedef {{ from: number, to: number | null, isOpen: boolean }} Span */
/**
 * What is drawn around the readings.
 * @typedef {object} Scene
 * @property {number | null} threshold of the target, else none
 * @property {number | null} window its length, ms; of the target
 * @property {number | null} windowEnd where it ends now; none if the past is shown
 * @property {Span[]} incidents
 * @property {Mark[]} actions
 * @property {() => number} now
 */

const HOUR = 3_600_000;

/**
 * @param {HTMLElement} root
 * @param {{ unit: string, isTarget: boolean, label: string, scene: Scene, height: number, onSelect: (from: number, to: number) => void, onCursor: (said: string) => void }} options
 */
export function chart(root, { unit, isTarget, label, scene, height, onSelect, onCursor }) {
  const font = () => `${Math.round(0.75 * rem())}px system-ui, sans-serif`;
  const axis = { stroke: () => color("--dim"), grid: { stroke: () => color("--rule"), width: 1 }, ticks: { show: false }, font: font() };
  const u = new uPlot({
    width: Math.max(200, root.clientWidth), height, ms: 1,
    padding: [10, 8, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false } },
    scales: { x: { time: true, auto: false, range: (_, from, to) => [from, to] }, y: { range: (_, low, high) => reach(low, high, scene.threshold) } },
    axes: [
      { ...axis, values: (self, ticks) => ticks.map((at) => tick(at, self)), space: 5 * rem(), size: 1.9 * rem() },
      { ...axis, values: (_, ticks) => ticks.map((value) => num(value)), size: 3.6 * rem() },
    ],
    series: series(isTarget),
    bands: [{ series: [2, 1], fill: () => color("--band") }],
    hooks: {
      drawClear: [(self) => under(self, scene)],
      draw: [(self) => over(self, scene)],
      setCursor: [(self) => {
        onCursor(said(self, unit));
        if (scene.window !== null) self.redraw(false, false);
      }],
      setSelect: [(self) => {
        if (self.select.width < 8) return;
        const [from, to] = [self.select.left, self.select.left + self.select.width].map((x) => self.posToVal(x, "x"));
        self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        onSelect(from, to);
      }],
    },
  }, [[], [], [], [], [], [], []], root);
  u.root.setAttribute("role", "img");
  u.root.setAttribute("aria-label", label);
  return u;
}

/** The size of the type of the page, px. */
export const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

/** The columns of a feed's table. */
const [LEAST, MOST, MEAN, ESTIMATE, READING, EXACT] = [1, 2, 3, 4, 5, 6];

/**
 * @param {boolean} isTarget
 * @returns {uPlot.Series[]}
 */
function series(isTarget) {
  const line = (/** @type {string} */ stroke, /** @type {number} */ width, more = {}) =>
    ({ stroke: () => color(stroke), width, points: { show: false }, ...more });
  const dots = { points: { show: true, size: 4, fill: () => color("--raw"), stroke: () => color("--raw") }, paths: () => null };
  return [
    {}, line("--band", 0), line("--band", 0), line("--raw", 1), line("--p95", 1, { show: isTarget, dash: [4, 3] }),
    line("--raw", 0, dots), line("--p95", 2.5, { show: isTarget }),
  ];
}

/** What the lines are, for the key. @param {boolean} isTarget @returns {[string, string][]} */
export const keyOf = (isTarget) => [
  .../** @type {[string, string][]} */ (isTarget ? [["exact", "p95 of the window, exact"], ["estimate", "p95 of each bucket, estimate"]] : []),
  ["mean", "mean"], ["band", "least to most"], ["reading", "reading"],
];

/**
 * What stands under the cursor.
 * @param {uPlot} self
 * @param {string} unit
 */
function said(self, unit) {
  const { idx } = self.cursor;
  if (idx === null || idx === undefined) return "";
  const at = (/** @type {number} */ column) => {
    // Columns have values at times of their own: the nearest to the left is meant.
    for (let i = idx; i >= 0 && i > idx - 60; i--) {
      const value = self.data[column][i];
      if (value !== undefined) return value;
    }
    return null;
  };
  const parts = [moment(self.data[0][idx])];
  const add = (/** @type {string} */ name, /** @type {number | null} */ value) => value !== null && parts.push(`${name} ${num(value)}`);
  add("p95", at(EXACT));
  if (at(EXACT) === null) add("p95 about", at(ESTIMATE));
  add("mean", at(MEAN));
  add("least", at(LEAST));
  add("most", at(MOST));
  add("reading", at(READING));
  return `${parts.join(" · ")} ${unit}`;
}

/**
 * @param {number} at
 * @param {uPlot} self
 */
function tick(at, self) {
  const wide = (self.scales.x.max ?? 0) - (self.scales.x.min ?? 0);
  const even = Math.round(at / 1000) * 1000;
  if (wide > 36 * HOUR) return moment(even).slice(5, 16);
  return wide > HOUR / 2 ? clock(even).slice(0, 5) : clock(even);
}

/**
 * The values that are shown: the threshold always, 0 unless all is far above it.
 * @param {number | null} low
 * @param {number | null} high
 * @param {number | null} threshold
 * @returns {[number, number]}
 */
function reach(low, high, threshold) {
  let least = Math.min(low ?? Infinity, threshold ?? Infinity);
  let most = Math.max(high ?? -Infinity, threshold ?? -Infinity);
  if (!Number.isFinite(least) || !Number.isFinite(most)) [least, most] = [0, 1];
  if (least > 0 && least < 0.6 * most) least = 0;
  const room = (most - least || Math.abs(most) || 1) * 0.08;
  return [least === 0 ? 0 : least - room, most + room];
}

/**
 * Behind the readings: incidents, and the window that ends at the cursor, else now.
 * @param {uPlot} u
 * @param {Scene} scene
 */
function under(u, scene) {
  const { ctx, bbox } = u;
  const stretch = (/** @type {number} */ from, /** @type {number} */ to, /** @type {string} */ fill) => {
    const [left, right] = [from, to].map((at) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, u.valToPos(at, "x", true))));
    if (right <= left) return;
    ctx.fillStyle = color(fill);
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  };
  ctx.save();
  for (const { from, to } of scene.incidents) stretch(from, to ?? scene.now(), "--trouble");
  const at = u.cursor.left !== undefined && u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : scene.windowEnd;
  if (scene.window !== null && at !== null) stretch(at - scene.window, at, "--window");
  ctx.restore();
}

/**
 * Before them: the threshold, where incidents opened, and actions.
 * @param {uPlot} u
 * @param {Scene} scene
 */
function over(u, scene) {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio || 1;
  const right = bbox.left + bbox.width;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.lineWidth = 1.5 * ratio;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.font = `${Math.round(0.72 * rem() * ratio)}px system-ui, sans-serif`;
  if (scene.threshold !== null) {
    const y = u.valToPos(scene.threshold, "y", true);
    rule(ctx, [bbox.left, y], [right, y], color("--red-text"), [7 * ratio, 4 * ratio]);
    const text = `limit ${num(scene.threshold)}`;
    ctx.fillStyle = color("--red-text");
    ctx.fillText(text, right - ctx.measureText(text).width - 4 * ratio, y - 4 * ratio);
  }
  for (const { from } of scene.incidents) {
    const x = u.valToPos(from, "x", true);
    rule(ctx, [x, bbox.top], [x, bbox.top + bbox.height], color("--red-text"), []);
  }
  flags(u, scene.actions, ratio);
  ctx.restore();
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {[number, number]} from
 * @param {[number, number]} to
 * @param {string} stroke
 * @param {number[]} dash
 */
function rule(ctx, from, to, stroke, dash) {
  ctx.strokeStyle = stroke;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
  ctx.setLineDash([]);
}

/**
 * A flag an action; a text only where those before leave room.
 * @param {uPlot} u
 * @param {Mark[]} actions in order of time
 * @param {number} ratio
 */
function flags({ ctx, bbox, valToPos }, actions, ratio) {
  // Where each line of texts is free from, the lowest first.
  const free = [-Infinity, -Infinity];
  const foot = bbox.top + bbox.height;
  for (const { at, text, isBad } of actions) {
    const x = valToPos(at, "x", true);
    const stroke = color(isBad ? "--red-text" : "--link");
    rule(ctx, [x, foot - 26 * ratio], [x, foot], stroke, []);
    ctx.fillStyle = stroke;
    ctx.beginPath();
    ctx.arc(x, foot - 26 * ratio, 3.5 * ratio, 0, 7);
    ctx.fill();
    const said = cut(visible(words(text)), 28);
    const width = ctx.measureText(said).width;
    if (x < bbox.left) continue;
    const isCramped = x + 7 * ratio + width > bbox.left + bbox.width;
    const left = isCramped ? x - 7 * ratio - width : x + 7 * ratio;
    const line = free.findIndex((end) => left > end);
    if (line < 0) continue;
    ctx.fillText(said, left, foot - (22 + 16 * line) * ratio);
    free[line] = left + width + 9 * ratio;
  }
}
