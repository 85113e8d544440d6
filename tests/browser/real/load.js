// @ts-check
// The war room under load: a fleet, its readings, many who look on. Not a test: it prints what it measures.
//
//   node real/load.js [services] [streams] [seconds]
//
// The processor time of the server alone is what counts; Kafka, processor, sender, browser and this share the machine.
import { setTimeout as pause } from "node:timers/promises";
import http from "node:http";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { spread, Stack } from "./stack.js";

const [services, streams, seconds] = [2000, 200, 60].map((usual, i) => Number(process.argv[2 + i] ?? usual));
const stack = await new Stack().start();
try {
  const report = await measure();
  console.log(JSON.stringify(report, null, 2));
} finally {
  await stack.stop();
}

async function measure() {
  stack.spawn(["process"]);
  console.error(`registering ${services} services`);
  const id = (/** @type {number} */ n) => `service_${String(n).padStart(5, "0")}`;
  const specs = Array.from({ length: services }, (_, n) => spec(id(n)));
  await registerAll(specs);
  console.error("emitting one reading a second of each");
  const sender = stack.spawn(["emit", "--stdin"], { stdin: "pipe" });
  let round = 0;
  const emitting = setInterval(() => {
    round += 1;
    const ts = Date.now();
    const one = (/** @type {number} */ n) => JSON.stringify({ service: id(n), sensor: "q", ts, value: n % 50 === round % 50 ? 90 : 10 + ((n + round) % 7) });
    sender.stdin?.write(`${Array.from({ length: services }, (_, n) => one(n)).join("\n")}\n`);
  }, 1000);
  await stack.until("verdicts", async () => {
    const known = await stack.get("services");
    return known.services.filter((/** @type {any} */ one) => one.slo_state !== "unknown").length > 0.9 * services;
  });
  console.error(`opening ${streams} streams`);
  const bytes = { all: 0 };
  const lines = await Promise.all(Array.from({ length: streams }, () => listen(bytes)));
  const page = await look();
  await pause(5_000);
  const began = { cpu: cpu(), bytes: bytes.all, at: performance.now() };
  console.error(`measuring for ${seconds} s`);
  const frames = await page.frames(seconds);
  const elapsed = (performance.now() - began.at) / 1000;
  const report = {
    services, streams, seconds: Math.round(elapsed),
    server_cores: Number(((cpu() - began.cpu) / elapsed).toFixed(3)),
    stream_megabytes_per_second: Number(((bytes.all - began.bytes) / elapsed / 1e6).toFixed(1)),
    first_wall_ms: page.wall, frames_per_second: frames, page_heap_megabytes: await page.megabytes(),
    streams_still_open: lines.filter((line) => !line.isOver).length,
  };
  clearInterval(emitting);
  lines.forEach((line) => line.end());
  await page.close();
  return report;
}

function cpu() {
  return stack.room ? Stack.cpuSeconds(stack.room) : 0;
}

/** @param {string} id */
function spec(id) {
  return `id: ${id}\nowner: team_${Number(id.slice(-2)) % 12}\nsensors:\n  - {name: q, interval: 1}\nslo: {target: q, threshold: 30, window_seconds: 60, min_samples: 5}\n`;
}

/** @param {string[]} specs */
async function registerAll(specs) {
  const headers = { "content-type": "application/yaml", "x-ops": "1" };
  const left = specs.values();
  const some = async () => {
    for (const body of left) {
      const answer = await fetch(`${stack.url}api/v1/register`, { method: "POST", headers, body });
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, some));
}

/** A stream that is read as it comes. @param {{ all: number }} bytes */
async function listen(bytes) {
  const line = { isOver: false, end: () => {} };
  await new Promise((resolve, reject) => {
    const request = http.get(`${stack.url}api/v1/stream`, { agent: false }, (answer) => {
      if (answer.statusCode !== 200) return reject(new Error(`a stream was answered ${answer.statusCode}`));
      answer.on("data", (data) => {
        bytes.all += data.length;
        resolve(null);
      });
      answer.on("close", () => {
        line.isOver = true;
      });
      answer.on("error", () => {});
    });
    request.on("error", reject);
    line.end = () => void request.destroy();
  });
  return line;
}

async function look() {
  const executablePath = ["/usr/bin/chromium", process.env.CHROMIUM ?? ""].find((path) => path && existsSync(path));
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const begun = performance.now();
  await page.goto(stack.url);
  await page.waitForSelector(".tile");
  const wall = Math.round(performance.now() - begun);
  const session = await page.context().newCDPSession(page);
  return {
    wall,
    /** @param {number} wanted seconds */
    frames: (wanted) => page.evaluate(async (wanted) => {
      /** @type {number[]} */
      const each = [];
      for (let second = 0; second < wanted; second++) {
        let n = 0;
        const end = performance.now() + 1000;
        while (performance.now() < end) {
          await new Promise(requestAnimationFrame);
          n += 1;
        }
        each.push(n);
      }
      return each;
    }, wanted).then((each) => ({ least: Math.min(...each), median: spread(each).median })),
    megabytes: async () => {
      const { usedSize } = await session.send("Runtime.getHeapUsage");
      return Math.round(usedSize / 1e6);
    },
    close: () => browser.close(),
  };
}
